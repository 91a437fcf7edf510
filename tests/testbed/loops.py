"""A loop that is not adaptoff's, without the training: what it would have measured."""

from adaptoff.local import Answer, Measured
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario

SERVER_SPEED = 2.0
UP_BPS, DOWN_BPS = 40e6, 50e6


def lived(scenario: Scenario, profile: Profile, device: int, answer: Answer) -> Measured:
    """A round with the row that was answered, by the cost model, at a server of its own."""
    work, board, cut = scenario.workload, scenario.board_of(device), answer.cut
    speed = board.speed * board.opps[answer.opp].relative_speed

    def column(field: str) -> float:
        return profile.column(field, work.batch_size)[cut]

    stages = {
        "device_s": work.batches * column("device_s") / speed,
        "uplink_s": work.batches * column("up_bytes") * 8 / UP_BPS,
        "server_s": work.batches * column("server_s") / SERVER_SPEED,
        "downlink_s": work.batches * column("down_bytes") * 8 / DOWN_BPS,
        "sync_s": column("sync_bytes") * 8 * (1 / UP_BPS + 1 / DOWN_BPS),
    }
    return Measured(
        **stages,  # type: ignore[arg-type]
        total_s=sum(stages.values()), samples=work.batches * work.batch_size,
        up_bps=UP_BPS, down_bps=DOWN_BPS,
    )  # fmt: skip
