"""Where a process shows its metrics: GET http://HOST:PORT/metrics, which only reads."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from adaptoff.errors import InputError

LOOPBACK = "127.0.0.1"
CLIENT_S = 10.0
"""for a client to say what it wants, and to take it"""
POLL_S = 0.1

log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where to listen."""

    host: str
    port: int
    """0: any that is free"""


def place_of(text: str) -> Place:
    """From [HOST:]PORT, an IPv6 address in brackets; loopback where no host is named.

    Raises InputError.
    """
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535 or text[:1] == ":":
        raise InputError(f"--metrics {text[:80]}: must be [HOST:]PORT, a port of 0 to 65535")
    return Place(host.removeprefix("[").removesuffix("]") or LOOPBACK, int(port))


@contextmanager
def exposed(registry: CollectorRegistry, place: Place) -> Iterator[str]:
    """Show ``registry`` until the end of the block; yields the URL.

    Raises InputError where this machine does not let us listen.
    """
    try:
        server = _Server(registry, place)
    except (OSError, UnicodeError) as error:  # the latter for what can be no name of a host
        said = getattr(error, "strerror", None) or error
        raise InputError(f"--metrics {place.host[:80]}:{place.port}: {said}") from None
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(WSGIRequestHandler):
    timeout = CLIENT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.debug(format, *args)


class _Server(ThreadingWSGIServer):
    """The library's, for IPv6 too, and silent about clients that fail."""

    def __init__(self, registry: CollectorRegistry, place: Place) -> None:
        found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, address = found[0]
        super().__init__((str(address[0]), place.port), _Handler)
        self.set_app(make_wsgi_app(registry))

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        shown = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{shown}:{port}/metrics"

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        log.debug("a client of the metrics failed: %s", client_address, exc_info=True)
