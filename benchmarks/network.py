"""The kernel-shaped network: how exact its rates are, how long it takes to stand and to change.

``python benchmarks/network.py [--mbps 5 25 75] [--megabytes 1.6] [--tries 5] [--json]`` tries the
kinds of namespaces that this machine and user can make. Errors are of the payload goodput of a TCP
transfer, in percent of the rate asked for: smallest, median, largest. Other work on the machine
makes a link slower at times, never faster.
"""

import argparse
import json
import os
import time
from statistics import median
from typing import Any

from adaptoff.testbed.netmeter import Arrival, Transfer, goodput_bps, measure
from adaptoff.testbed.network import SERVER, Network
from adaptoff.testbed.probe import probe

START_DEVICES = 10
CHANGES = 100
OLD_BPS, NEW_BPS = 5e6, 40e6
SEEN_BYTES = 100_000


def modes() -> dict[str, bool]:
    """Kinds of namespaces that work here, and what ``Network`` calls them."""
    able = probe()
    found = {"root": able.root_namespaces, "rootless": able.rootless_namespaces}
    return {mode: mode == "rootless" for mode, ability in found.items() if ability and able.tbf}


def rate_errors(mbps: float, nbytes: int, tries: int, *, rootless: bool) -> dict[str, list[float]]:
    """Percent, by direction."""
    rate_bps = mbps * 1e6
    found = {}
    with Network([(rate_bps, rate_bps)], rootless=rootless) as network:
        for direction, ends in (("up", (0, SERVER)), ("down", (SERVER, 0))):
            goodputs = [goodput_bps(measure(network, *ends, nbytes)) for _ in range(tries)]
            errors = sorted(100 * (each / rate_bps - 1) for each in goodputs)
            found[direction] = [errors[0], median(errors), errors[-1]]
    return found


def start_s(*, rootless: bool) -> tuple[float, float]:
    """Seconds until a network of START_DEVICES stands, and until it is gone."""
    begun_s = time.perf_counter()
    with Network([(25e6, 25e6)] * START_DEVICES, rootless=rootless):
        stands_s = time.perf_counter()
    return stands_s - begun_s, time.perf_counter() - stands_s


def change_s(*, rootless: bool) -> float:
    """Seconds that an order to change both directions takes, on average."""
    with Network([(25e6, 25e6)], rootless=rootless) as network:
        begun_s = time.perf_counter()
        for i in range(CHANGES):
            network.set_rates(0, 1e6 + i, 2e6 + i)
        return (time.perf_counter() - begun_s) / CHANGES


def seen_s(ends: tuple[int, int], *, rootless: bool) -> float:
    """Seconds from an order to a faster link until what arrives is as fast."""
    with (
        Network([(OLD_BPS, OLD_BPS)], rootless=rootless) as network,
        Transfer(network, *ends, 2_000_000) as transfer,
    ):
        transfer.wait_for_first()
        begun_s = time.monotonic()
        network.set_rates(0, NEW_BPS, NEW_BPS)
        arrivals = [each for each in transfer.finish() if each.at_s > begun_s]
    first = next(i for i in range(len(arrivals)) if is_fast(arrivals[i:]))
    return arrivals[first].at_s - begun_s


def is_fast(tail: list[Arrival]) -> bool:
    """Whether its first SEEN_BYTES came at nine tenths of NEW_BPS."""
    window = [each for each in tail if each.total_bytes <= tail[0].total_bytes + SEEN_BYTES]
    return len(window) > 1 and goodput_bps(window) > 0.9 * NEW_BPS


def examine(options: argparse.Namespace, *, rootless: bool) -> dict[str, Any]:
    """All figures of one kind of namespaces."""
    nbytes, tries = int(options.megabytes * 1e6), options.tries
    starts = [start_s(rootless=rootless) for _ in range(tries)]
    return {
        "goodput_error_percent": {
            f"{mbps:g}": rate_errors(mbps, nbytes, tries, rootless=rootless)
            for mbps in options.mbps
        },
        "start_10_devices_s": median(start for start, _ in starts),
        "end_10_devices_s": median(end for _, end in starts),
        "change_s": median(change_s(rootless=rootless) for _ in range(tries)),
        "seen_up_s": median(seen_s((0, SERVER), rootless=rootless) for _ in range(tries)),
        "seen_down_s": median(seen_s((SERVER, 0), rootless=rootless) for _ in range(tries)),
    }


def report(mode: str, found: dict[str, Any]) -> None:
    """Print one kind."""
    print(f"{mode} namespaces")
    for mbps, directions in found.pop("goodput_error_percent").items():
        for direction, errors in directions.items():
            spread = "  ".join(f"{each:+6.2f} %" for each in errors)
            print(f"  {mbps:>5} Mbit/s {direction:4s}  {spread}")
    for figure, seconds in found.items():
        print(f"  {figure:18s} {1e3 * seconds:8.1f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mbps", type=float, nargs="+", default=[5.0, 25.0, 75.0])
    parser.add_argument("--megabytes", type=float, default=1.6)
    parser.add_argument("--tries", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {mode: examine(options, rootless=rootless) for mode, rootless in modes().items()}
    if options.json:
        print(json.dumps({"load": os.getloadavg(), **found}))
        return
    for mode, figures in found.items():
        report(mode, figures)
    if not found:
        print(f"no namespaces here: {probe()}")


if __name__ == "__main__":
    main()
