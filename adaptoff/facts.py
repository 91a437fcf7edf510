"""What a fleet's rows come down to, whatever the conditions: gathered once, used every round."""

from dataclasses import dataclass

from adaptoff.fleet import Fleet, Floats, Options, Rows
from adaptoff.lookup import of_cluster, of_fleet, of_opp, of_way


@dataclass(frozen=True)
class Facts:
    """Figures of rows (F, G) or options (V,), shaped alike."""

    device_work_s: Floats  # of a round, at speed 1
    server_work_s: Floats  # of a round, at speed 1
    batches: Floats
    up_bits: Floats  # per batch
    down_bits: Floats  # per batch
    sync_bits: Floats  # one way, per round
    split: Floats  # 1 where batches travel, 0 where native
    relative_speed: Floats
    dynamic_w: Floats
    radio_w: Floats
    overlap: Floats | None  # as in ``cost.Columns``
    one_pass: Floats | None  # share of the device's work in its longer pass


def facts(fleet: Fleet, rows: Rows | Options) -> Facts:
    """Of rows (F, G) or options (V,)."""
    piped = bool((fleet.depth > 1).any())
    batches, radio_w = (of_cluster(v, rows) for v in (fleet.batches, fleet.radio_w))
    return Facts(
        device_work_s=batches * of_way(fleet.device_work_s, rows),
        server_work_s=batches * of_way(fleet.server_work_s, rows),
        batches=batches,
        up_bits=of_way(fleet.up_bytes, rows) * 8,
        down_bits=of_way(fleet.down_bytes, rows) * 8,
        sync_bits=of_way(fleet.sync_bytes, rows) * 8,
        split=(rows.way < of_fleet(fleet.n_ways, rows) - 1).astype(float),
        relative_speed=of_opp(fleet.relative_speed, rows),
        dynamic_w=of_opp(fleet.dynamic_w, rows),
        radio_w=radio_w,
        overlap=of_way(1 - 1 / fleet.depth, rows) if piped else None,
        one_pass=of_fleet(fleet.one_pass, rows) if piped else None,
    )
