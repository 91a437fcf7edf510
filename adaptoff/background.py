"""What is looked at again and again while something else goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(look: Callable[[], object], every_s: float, name: str) -> Iterator[None]:
    """Calls ``look`` in a thread called ``name`` for as long as the context lasts."""
    done = threading.Event()

    def go() -> None:
        while not done.wait(every_s):
            look()

    thread = threading.Thread(target=go, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
