"""What a fleet's rows come down to, whatever the conditions: gathered once, used every round."""

from dataclasses import dataclass

from adaptoff.fleet import Fleet, Floats, Options, Rows
from adaptoff.lookup import of_cluster, of_cut, of_fleet, of_opp


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


def facts(fleet: Fleet, rows: Rows | Options) -> Facts:
    """Of rows (F, G) or options (V,)."""
    batches, radio_w = (of_cluster(v, rows) for v in (fleet.batches, fleet.radio_w))
    return Facts(
        device_work_s=batches * of_cut(fleet.device_work_s, rows),
        server_work_s=batches * of_cut(fleet.server_work_s, rows),
        batches=batches,
        up_bits=of_cut(fleet.up_bytes, rows) * 8,
        down_bits=of_cut(fleet.down_bytes, rows) * 8,
        sync_bits=of_cut(fleet.sync_bytes, rows) * 8,
        split=(rows.cut < of_fleet(fleet.n_cuts, rows) - 1).astype(float),
        relative_speed=of_opp(fleet.relative_speed, rows),
        dynamic_w=of_opp(fleet.dynamic_w, rows),
        radio_w=radio_w,
        overlap=of_fleet(1 - 1 / fleet.depth, rows) if (fleet.depth > 1).any() else None,
    )
