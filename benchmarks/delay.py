"""Delay, jitter and loss of emulated links: how exact they are, and what emulating them takes.

``python benchmarks/delay.py [--emulator netem|relay] [--rootless]``. Round trips are of datagrams
without load; goodput is that of a TCP transfer of some seconds, after its first second, on an empty
link; CPU is that of the relay of one link while it carries the transfer, in percent of a core.
"""

import argparse
import os
import time
from pathlib import Path
from statistics import median, pstdev

from adaptoff.testbed import netecho
from adaptoff.testbed.netmeter import goodput_bps, measure
from adaptoff.testbed.network import SERVER, Impairment, Network

TRANSFER_S = 5.0
SETTLED_S = 1.0
TOP_BPS = 1e9
TICKS = os.sysconf("SC_CLK_TCK")


def laid(options: argparse.Namespace, impairment: Impairment, rate_bps: float = 25e6) -> Network:
    """One device."""
    emulation = {"rootless": options.rootless, "emulator": options.emulator}
    return Network([(rate_bps, rate_bps)], [impairment], **emulation)


def relay_cpu_s(network: Network) -> float:
    """Of the relays of a network, until now."""
    broker = network.command(SERVER)[-2].split("/")[2]
    found = 0.0
    for child in Path(f"/proc/{broker}/task/{broker}/children").read_text().split():
        fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
        found += (int(fields[11]) + int(fields[12])) / TICKS
    return found


def round_trips(options: argparse.Namespace, impairment: Impairment) -> None:
    """Print their spread."""
    with laid(options, impairment) as network:
        echoes = netecho.measure(network, 0, SERVER, 200, 0.03)
    ms = sorted(1e3 * echo.rtt_s for echo in echoes)
    print(f"{1e3 * impairment.rtt_s:3.0f} ms +- {1e3 * impairment.jitter_s:2.0f}: "
          f"{ms[0]:.2f} {median(ms):.2f} {ms[-1]:.2f} ms (least, median, most), "
          f"sd {pstdev(ms):.2f}")  # fmt: skip


def losses(options: argparse.Namespace, loss: float, count: int = 5000) -> None:
    """Print what is lost on the way there and back."""
    with laid(options, Impairment(loss=loss)) as network:
        back = len(netecho.measure(network, 0, SERVER, count, 0.001)) / count
    print(f"loss {loss:.0%} each way: {1 - back**0.5:.2%} of {count}")


def transfers(
    options: argparse.Namespace, rate_bps: float, impairment: Impairment, nbytes: float
) -> None:
    """Print goodput and CPU, up and down."""
    for ends in ((0, SERVER), (SERVER, 0)):
        with laid(options, impairment, rate_bps) as network:
            cpu_s, start_s = relay_cpu_s(network), time.perf_counter()
            arrivals = measure(network, *ends, int(nbytes))
            share = (relay_cpu_s(network) - cpu_s) / (time.perf_counter() - start_s)
        settled = [each for each in arrivals if each.at_s > arrivals[0].at_s + SETTLED_S]
        print(f"{rate_bps / 1e6:5.0f} Mbit/s, {impairment}, {'down' if ends[1] == 0 else 'up'}: "
              f"{goodput_bps(settled) / 1e6:.2f} Mbit/s, relay {share:.1%}")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulator", choices=["netem", "relay"])
    parser.add_argument("--rootless", action="store_true", default=os.geteuid() != 0)
    options = parser.parse_args()
    for impairment in (Impairment(), Impairment(0.04), Impairment(0.04, 0.02)):
        round_trips(options, impairment)
    losses(options, 0.1)
    for rate_bps in (25e6, 50e6):
        transfers(options, rate_bps, Impairment(0.02), rate_bps / 8 * TRANSFER_S)
    transfers(options, 50e6, Impairment(0.06, 0.0, 0.01), 1.5e6)
    transfers(options, TOP_BPS, Impairment(0.02), TOP_BPS / 8 * TRANSFER_S)


if __name__ == "__main__":
    main()
