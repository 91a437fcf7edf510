"""What closes itself at the end of a ``with`` block."""

from types import TracebackType
from typing import Self


class Closing:
    """Base of context managers whose end is their ``close``."""

    def close(self) -> None:
        """Release everything; a second call does nothing."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Close it."""
        self.close()
