"""One decision of a device's controller, beside peers that only score its rows by an equal MLP.

``OMP_NUM_THREADS=1 python benchmarks/controller.py [--repeats 5] [--peers-python PATH] [--json]``

Whole decisions (``Controller.next``) and their stages, in rounds in which the devices do what it
says: one cluster with 64 rows, and the five of the scenario fedadapt-falling, with 21 to 28 each.
Then scores of 64 rows alone, which is all that the peers do: torch's ``nn.Sequential``,
Stable-Baselines3's ``policy.predict``, onnxruntime; "numpy" is what ``Policy.scores`` does. Time is
the thread's own, as others use the machine, too. A start is from a fresh interpreter to the first
decision, or scores, by the clock; memory is what is resident then, a controller's with zmq; disk is
what the base install needs, or the peer with all that it needs.

A peer that this Python lacks runs by ``--peers-python``. All take turns: figures are medians over
the turns, of half (p50) and 99 in 100 (p99) of the calls, and a ratio is the median of the turns'.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from controller_peers import PEERS, percentiles_us
from controller_rounds import ONE_CLUSTER, STAGES, Rounds, rounds

Figures = dict[str, float]

CALLS = 400
LIMITS = {"p50 us": 100.0, "p99 us": 300.0, "start s": 0.6, "memory MB": 45.0}
OURS, ALONE = "controller", "numpy"
"""whole decisions, and what ``Policy.scores`` does"""
HERE = Path(__file__).parent
FIRST = """
import sys, zmq, msgspec
from pathlib import Path
from adaptoff import config, policy
from adaptoff.controller import Controller
from adaptoff.messages import FleetFigures
scenario = config.load(sys.argv[1] + "/scenario.toml")
figures = msgspec.msgpack.decode(Path(sys.argv[1], "figures").read_bytes(), type=FleetFigures)
controller = Controller(0, scenario, config.profile_of(scenario), policy.default())
assert controller.next(figures.round + 1, figures).source in ("policy", "planner")
sys.path.insert(0, sys.argv[2])
from controller_peers import report
report(["msgspec", "numpy", "pyzmq", "rich", "safetensors", "typer"])
"""


def started(command: list[str]) -> Figures:
    """What a fresh interpreter reports, as ``controller_peers`` does; nothing if it cannot run."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        memory_mb = process.stdout.readline()
        spent_s = time.perf_counter() - start
        rest = process.communicate("\n")[0].splitlines()
    if not rest:
        return {}
    found = {"start s": spent_s, "memory MB": float(memory_mb), "disk MB": float(rest[0])}
    scores = json.loads(rest[1]) if rest[1:] else []
    return found | dict(zip(("p50 us", "p99 us"), scores, strict=False))


def decisions(fleets: dict[str, Rounds]) -> Figures:
    """Whole ones and their stages, in this process."""
    found: Figures = {}
    for name, fleet in fleets.items():
        p50, p99 = percentiles_us(fleet.decide, CALLS)
        found |= {f"{name}, p50 us": p50, f"{name}, p99 us": p99}
        stages = zip(STAGES, fleet.stages_us(CALLS), strict=True)
        found |= {f"{name}, {stage}, us": spent for stage, spent in stages}
    return found


def turn(fleets: dict[str, Rounds], folder: str, pythons: list[str]) -> dict[str, Figures]:
    """Figures of the controller and of each peer that there is."""
    first = started([sys.executable, "-c", FIRST, folder, str(HERE)])
    found = {OURS: decisions(fleets) | first}
    for name in PEERS:
        command = [str(HERE / "controller_peers.py"), name]
        answers = (started([python, *command]) for python in pythons)
        found[name] = next((answer for answer in answers if answer), {})
    return found


def measure(repeats: int, pythons: list[str]) -> dict[str, float | None]:
    """Ratios, and the figures behind them; None for a peer that is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        scenario, told = Path(folder, "scenario.toml"), Path(folder, "figures")
        scenario.write_text(ONE_CLUSTER, encoding="utf-8")
        one, five = (rounds(source) for source in (str(scenario), "fedadapt-falling"))
        told.write_bytes(msgspec.msgpack.encode(one.told[-1]))
        fleets = {"1 cluster of 64 rows": one, "5 clusters": five}
        turns = [turn(fleets, folder, pythons) for _ in range(repeats)]
    return ratios(turns) | {
        f"{name}, {figure}": statistics.median(one[name][figure] for one in turns)
        for name in turns[0]
        for figure in turns[0][name]
    }


def ratios(turns: list[dict[str, Figures]]) -> dict[str, float | None]:
    """Peers over ours: their scores, starts, memory and disk."""
    found: dict[str, float | None] = {}
    for peer in (name for name in PEERS if name != ALONE):
        for figure in ("p50 us", "p99 us", "start s", "memory MB", "disk MB"):
            ours = ALONE if figure.endswith("us") else OURS
            found[f"{peer} over {ours}, {figure}"] = (
                statistics.median(one[peer][figure] / one[ours][figure] for one in turns)
                if turns[0][peer]
                else None
            )
    return found


def limit(name: str) -> str:
    """What a figure of the controller's may be at most."""
    ours = name.startswith(f"{OURS}, ")
    return next((f"   at most {LIMITS[f]:g}" for f in LIMITS if ours and name.endswith(f)), "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers-python", metavar="PATH", help="another Python that has peers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    other = [options.peers_python] if options.peers_python else []
    found = measure(options.repeats, [sys.executable, *other])
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:50s}" + (f"{value:10.4g}{limit(name)}" if value else " not installed"))


if __name__ == "__main__":
    main()
