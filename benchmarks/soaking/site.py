"""Where faults happen, and what one is.

A fault is a generator: what goes wrong comes before its ``yield``, what takes it back after it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.soaking.device import Device
from benchmarks.soaking.server import Server
from benchmarks.soaking.world import World


@dataclass
class Site:
    """Where faults happen."""

    root: Path
    world: World
    device: Device
    server: Server
    rng: np.random.Generator

    def pick(self, *names: str) -> Path:
        """One of the clocks' files, of those with these names if any are given."""
        files = [path for path in self.device.kernel.files() if not names or path.name in names]
        return files[self.rng.integers(len(files))]


Fault = Callable[[Site], Iterator[None]]
