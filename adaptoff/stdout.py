"""What is said on stdout, for programs: one JSON document a line."""

import os
import sys

import msgspec

from adaptoff.errors import RunError


def say(document: object) -> None:
    """Say it, with nothing kept for later. Raises RunError if stdout is closed, or full."""
    line = msgspec.json.encode(document) + b"\n"
    sys.stdout.flush()
    try:
        while line:
            line = line[os.write(sys.stdout.fileno(), line) :]
    except OSError as error:
        raise RunError(f"standard output: {error.strerror}") from None
