"""Files of the kernel: read without fuss, written without ever making one."""

import os
from pathlib import Path

MAX_BYTES = 64 << 10
"""of one file; sysfs gives a page"""
MAX_DIGITS = 19
"""of a number, its sign included: what fits into the kernel's own"""


class Sysfs:
    """The kernel's own files; tests put a smaller kernel in its place."""

    def read(self, path: Path) -> str | None:
        """The text, stripped; None where it is missing, not for us, or not readable now."""
        try:
            with path.open("rb") as file:
                return file.read(MAX_BYTES).decode("ascii", "replace").strip()
        except OSError:
            return None

    def write(self, path: Path, text: str) -> None:
        """Raises OSError: EACCES if not for us, EINVAL if the kernel refuses, ENOENT if missing."""
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(handle, text.encode("ascii"))
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(handle)

    def number(self, path: Path) -> int | None:
        """A whole number; None where there is none: "<unsupported>", say."""
        return whole(self.read(path) or "")

    def words(self, path: Path) -> list[str]:
        """What stands between spaces; nothing where there is no file."""
        return (self.read(path) or "").split()


def whole(text: str) -> int | None:
    """The whole number that this is, if it is one."""
    try:
        return int(text) if len(text) <= MAX_DIGITS else None
    except ValueError:
        return None


class DryRun(Sysfs):
    """Reads what is there; of what it is to write it keeps a list and does nothing."""

    def __init__(self) -> None:
        self.would: list[tuple[Path, str]] = []

    def write(self, path: Path, text: str) -> None:
        """Remember ``text``."""
        self.would.append((path, text))
