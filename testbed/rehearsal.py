"""What a process does once before its first round, so that no round pays for it."""

from adaptoff.scenario import Workload
from adaptoff.testbed import codec, models, split


def rehearse(work: Workload) -> None:
    """Train noise at every cut in all sizes of micro-batches, and use every codec."""
    model, depths = models.build(work.model, 0), {1, *work.depths}
    split.rehearse(model, work.batch_size, models.INPUT_SHAPE, depths)
    codec.rehearse(work.codecs)
