"""Boards made of files, and a kernel that treats them as the real one does."""

import errno
import os
from pathlib import Path

from adaptoff.sysfs import Sysfs

PI_KHZ = [600_000, 900_000, 1_200_000, 1_500_000]
LITTLE_KHZ = [200_000, 500_000, 800_000, 1_100_000, 1_400_000]
GPU_HZ = [100_000_000, 300_000_000, 500_000_000]


def files(folder: Path, **texts: object) -> Path:
    """A folder with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def policy(
    root: Path, number: int = 0, khz: list[int] = PI_KHZ, *, userspace: bool = True,
    table: bool = True,
) -> Path:  # fmt: skip
    """A cpufreq policy that schedutil governs, with its lowest step out of bounds."""
    governors = "conservative userspace schedutil" if userspace else "performance schedutil"
    steps = {"scaling_available_frequencies": " ".join(map(str, khz))} if table else {}
    return files(
        root / f"policy{number}", cpuinfo_min_freq=khz[0], cpuinfo_max_freq=khz[-1],
        scaling_min_freq=khz[1], scaling_max_freq=khz[-1], scaling_cur_freq=khz[1],
        scaling_governor="schedutil", scaling_available_governors=governors,
        scaling_setspeed="<unsupported>", **steps,
    )  # fmt: skip


def gpu(root: Path, hz: list[int] = GPU_HZ) -> Path:
    """A devfreq device."""
    return files(
        root / "57000000.gpu", available_frequencies=" ".join(map(str, hz)), min_freq=hz[0],
        max_freq=hz[-1], cur_freq=hz[0], governor="nvhost_podgov",
        available_governors="nvhost_podgov performance",
    )  # fmt: skip


def settings(folder: Path) -> dict[str, str]:
    """What a user may have set of a domain; a speed counts where it is heard."""
    names = ["governor", "min_freq", "max_freq"]
    found = {path.name: path.read_text().strip() for path in sorted(folder.iterdir())}
    names += ["setspeed"] if found.get("scaling_governor") == "userspace" else []
    return {name: text for name, text in found.items() if name.removeprefix("scaling_") in names}


class FakeKernel(Sysfs):
    """Refuses what a kernel refuses, and lets the clock follow what it accepts."""

    def __init__(self) -> None:
        self.writes: list[tuple[str, str]] = []
        self.refuses: dict[str, int] = {}
        self.hidden_khz: list[int] = []
        self.cap_khz = 10**9

    def write(self, path: Path, text: str) -> None:
        self.writes.append((path.name, text))
        if refusal := self.refuses.get(path.name) or self._refusal(path, text):
            raise OSError(refusal, os.strerror(refusal), str(path))
        super().write(path, text)
        self._follow(path.parent)

    def _refusal(self, path: Path, text: str) -> int:
        folder = path.parent
        if path.name == "scaling_governor":
            known = self.words(folder / "scaling_available_governors")
            return 0 if text in known else errno.EINVAL
        if path.name == "scaling_setspeed":
            is_userspace = self.read(folder / "scaling_governor") == "userspace"
            return 0 if is_userspace else errno.EINVAL
        if path.name.endswith("min_freq"):
            ceiling = self.number(path.with_name(path.name.replace("min", "max")))
            return errno.EINVAL if int(text) > (ceiling or 0) else 0
        if path.name.endswith("max_freq"):
            floor = self.number(path.with_name(path.name.replace("max", "min")))
            return errno.EINVAL if int(text) < (floor or 0) else 0
        return 0

    def _follow(self, folder: Path) -> None:
        """The clock goes to the first step that is fast enough, within the limits."""
        if not folder.name.startswith("policy"):
            (folder / "cur_freq").write_text(str(self.number(folder / "max_freq")))
            return
        floor, ceiling = (self.number(folder / f"scaling_{end}_freq") for end in ("min", "max"))
        is_userspace = self.read(folder / "scaling_governor") == "userspace"
        wanted = self.number(folder / "scaling_setspeed") if is_userspace else ceiling
        wanted = min(max(wanted or 0, floor or 0), ceiling or 0, self.cap_khz)
        words = self.words(folder / "scaling_available_frequencies")
        steps = [int(word) for word in words] or self.hidden_khz
        khz = next((step for step in steps if step >= wanted), steps[-1])
        (folder / "scaling_cur_freq").write_text(str(khz))
        shown = wanted if is_userspace else "<unsupported>"
        (folder / "scaling_setspeed").write_text(str(shown))
