"""Reads what a process shows at /metrics; whoever answers is not trusted."""

import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from prometheus_client.parser import text_string_to_metric_families

from adaptoff.errors import InputError, LinkError

MOST_BYTES, MOST_LINE = 4 * 1024**2, 1000
SILENT_S, WHOLE_S = 3.0, 10.0
"""without a byte, and for all of the figures"""
MOST = 2.0**53
"""of a figure: up to it floats count exactly"""
PREFIX = "adaptoff_"
PLAIN = {"Accept": "text/plain;version=0.0.4"}


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
        known = parts.scheme in {"http", "https"} and parts.hostname
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
    except HTTPError as error:
        error.close()
        raise LinkError(f"HTTP status {error.code}") from None
    except URLError as error:
        raise LinkError(_said(error.reason)) from None
    except (OSError, HTTPException, UnicodeError) as error:  # the last for no name of a host
        raise LinkError(_said(error)) from None
    if not samples:
        raise LinkError("no metrics of adaptoff")
    return samples


class _Stay(HTTPRedirectHandler):
    """Nobody sends us elsewhere."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _fetched(url: str) -> str:
    until_s = time.monotonic() + WHOLE_S
    opener, request = build_opener(ProxyHandler({}), _Stay), Request(url, headers=PLAIN)  # noqa: S310
    with opener.open(request, timeout=SILENT_S) as answer:
        data = bytearray()
        while piece := answer.read1(65536):
            data += piece
            if len(data) > MOST_BYTES:
                raise LinkError(f"more than {MOST_BYTES} bytes")
            if time.monotonic() > until_s:
                raise LinkError(f"not all of it came within {WHOLE_S:g} s")
    return data.decode(errors="replace")


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
