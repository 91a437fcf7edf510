"""The supervisor of a testbed that stands by itself: owns its server, devices and network.

It lives until SIGTERM, or until the server or the network ends. Whatever ends it, its children see
their standard input end, and end too.
"""

import os
import time
from pathlib import Path

from msgspec import structs

from adaptoff import config
from adaptoff.commands import standing
from adaptoff.commands.bed import Source, dilation_of, populate
from adaptoff.commands.children import SERVER, Children
from adaptoff.commands.standing import State
from adaptoff.commands.wires import Kind, Wires, choose, strung
from adaptoff.errors import AdaptoffError, PeerLost
from adaptoff.scenario import Scenario
from adaptoff.stdout import say

LOOK_EVERY_S = 0.5


def hold(
    name: str, source: Source, net: Kind, keys: Path | None, *, each: bool
) -> None:  # fmt: skip
    """Be the supervisor: start it all, say so, and look after it until SIGTERM."""
    state = State(name=name, pid=os.getpid())
    standing.write(state)
    try:
        _stand(state, config.load(source.scenario, source.overrides), source, net, keys, each=each)
    except KeyboardInterrupt:
        standing.remove(standing.place(name))
    except AdaptoffError as error:
        standing.write(structs.replace(state, phase="ended", reason=str(error)))
        raise


def _stand(
    state: State, scenario: Scenario, source: Source, net: Kind, keys: Path | None, *, each: bool
) -> None:
    kind, _ = choose(net, scenario)
    dilation, count = dilation_of(scenario, source.dilation), len(scenario.each_device())
    with strung(scenario, kind, dilation) as wires, Children() as children:
        if keys:
            _unlock(wires, keys)
        endpoint = populate(children, wires, source, count, dilation, each=each, stay=True)
        state = structs.replace(
            state, phase="up", endpoint=wires.driver(endpoint), links=wires.said,
            keys=str(wires.keys) if wires.keys else None, dilation=dilation, devices=count,
        )  # fmt: skip
        standing.write(state)
        say(state)
        _watch(state, wires, children)


def _unlock(wires: Wires, keys: Path) -> None:
    """Give both ends the user's keys."""
    wires.keys, wires.client = keys, ("--keys", str(keys))
    wires.server = (*wires.server, *wires.client)


def _watch(state: State, wires: Wires, children: Children) -> None:
    """Write down which devices end; raises PeerLost or NetworkError when there is no testbed."""
    while True:
        wires.check()
        ended = children.ended()
        if SERVER in ended:
            raise PeerLost(f"{SERVER} ended ({ended[SERVER]})")
        lost = [f"{device}: {how}" for device, how in ended.items()]
        if lost != state.lost:
            state = structs.replace(state, lost=lost)
            standing.write(state)
        time.sleep(LOOK_EVERY_S)
