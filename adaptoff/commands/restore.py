"""``adaptoff restore``: puts back the clocks that a device which was killed had set.

Meant for a service manager too (systemd: ExecStopPost), and does nothing where nothing is to do.
"""

from pathlib import Path
from typing import Any

from adaptoff import restore
from adaptoff.domains import CPU_ROOT, GPU_ROOT, discover
from adaptoff.errors import RunError


def run(
    directory: Path | None = None, cpu_root: Path = CPU_ROOT, gpu_root: Path = GPU_ROOT
) -> dict[str, Any]:
    """What was put back. Raises RunError if a process has the clocks, or the kernel refuses."""
    directory = directory or restore.default_directory()
    try:
        known = directory.is_dir()
    except OSError as error:
        raise RunError(f"{directory}: {error.strerror}") from None
    if not known:
        return {"restored": [], "directory": str(directory)}
    with restore.locked(directory):
        restored = restore.put_back(discover(cpu_root, gpu_root), directory)
    return {"restored": restored, "directory": str(directory)}
