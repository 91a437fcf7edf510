"""What is said on stdout, for programs: one JSON document a line."""

import io
import os
import sys

import msgspec

from adaptoff.errors import RunError


def say(document: object) -> None:
    """Say it. Raises RunError if stdout is closed, or full, and keeps nothing for another try."""
    line = msgspec.json.encode(document) + b"\n"
    sys.stdout.flush()
    try:
        _write(line)
    except OSError as error:
        raise RunError(f"standard output: {error.strerror}") from None


def _write(line: bytes) -> None:
    try:
        handle = sys.stdout.fileno()
    except io.UnsupportedOperation:  # what stands for it is no file
        sys.stdout.write(line.decode())
        return
    while line:
        line = line[os.write(handle, line) :]
