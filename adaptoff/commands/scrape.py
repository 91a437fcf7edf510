"""Reads what a process shows at /metrics; whoever answers is not trusted."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from io import BytesIO
from typing import NamedTuple
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from adaptoff.errors import InputError, LinkError

MOST_BYTES, MOST_LINE = 4 * 1024**2, 1000
SILENT_S, WHOLE_S = 3.0, 10.0
"""without a byte, and for all of the figures"""
MOST = 2.0**53
"""of a figure: up to it floats count exactly"""
PREFIX = "adaptoff_"
PLAIN = {"Accept": "text/plain;version=0.0.4", "Connection": "close"}


class Sample(NamedTuple):
    """One figure, finite and at most ``MOST``."""

    name: str
    labels: dict[str, str]
    value: float


def url_of(endpoint: str) -> str:
    """Where the metrics of PORT, HOST:PORT or a URL are. Raises InputError."""
    wrong = InputError(f"{endpoint[:80]}: must be [HOST:]PORT or http://HOST:PORT/metrics")
    if not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise wrong
    text = f"127.0.0.1:{endpoint}" if endpoint.isdigit() else endpoint
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.username is None
        fine = known and (parts.port or "://" in text)
    except ValueError:
        raise wrong from None
    if not fine:
        raise wrong
    return parts._replace(path=parts.path.rstrip("/") or "/metrics").geturl()


def read(url: str) -> list[Sample]:
    """The samples of adaptoff that are there; raises LinkError, which says why there are none."""
    try:
        samples = list(_ours(_fetched(url)))
    except (OSError, HTTPException, UnicodeError) as error:  # the last for no name of a host
        raise LinkError(_said(error)) from None
    if not samples:
        raise LinkError("no metrics of adaptoff")
    return samples


def _fetched(url: str) -> str:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    host, port = parts.hostname or "", parts.port or kind.default_port
    with closing(kind(host, port, timeout=SILENT_S)) as talk:
        talk.request("GET", parts._replace(scheme="", netloc="").geturl(), headers=PLAIN)
        answer = HTTPResponse(_Heard(_all_of(talk.sock)))  # type: ignore[arg-type]
    answer.begin()
    if answer.status != 200:  # nobody sends us elsewhere
        raise LinkError(f"HTTP status {answer.status}")
    return answer.read().decode(errors="replace")


def _all_of(link: socket.socket) -> bytes:
    """All until the other end hangs up: headers may be endless, too."""
    until_s = time.monotonic() + WHOLE_S
    data = bytearray()
    while piece := link.recv(65536):
        data += piece
        if len(data) > MOST_BYTES:
            raise LinkError(f"more than {MOST_BYTES} bytes")
        if time.monotonic() > until_s:
            raise LinkError(f"not all of it came within {WHOLE_S:g} s")
    return bytes(data)


class _Heard(BytesIO):
    """What HTTPResponse takes for a socket."""

    def makefile(self, _mode: str) -> BytesIO:
        return self


def _ours(text: str) -> Iterator[Sample]:
    """Only lines of ours, none of them long, come before the library's lax parser."""
    lines = [line for line in text.split("\n") if line.startswith(PREFIX)]
    if any(len(line) > MOST_LINE for line in lines):
        raise LinkError(f"a line of more than {MOST_LINE} characters")
    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                if abs(value := float(sample.value)) < MOST:
                    yield Sample(sample.name, sample.labels, value)
    except (ValueError, OverflowError, LookupError):
        raise LinkError("not the text that Prometheus reads") from None


def _said(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or type(error).__name__
