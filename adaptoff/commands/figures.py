"""``adaptoff serve --figures-only``: a fleet server for devices that control themselves."""

import importlib.util
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from adaptoff import config, notify
from adaptoff.commands.children import Ready, leave_with_stdin
from adaptoff.errors import InputError
from adaptoff.messages import MAX_CLUSTERS
from adaptoff.policy_store import PolicyStore
from adaptoff.scenario import Scenario
from adaptoff.stdout import say
from adaptoff.testbed.fleet_server import FleetServer
from adaptoff.testbed.keys import ServerKeys
from adaptoff.testbed.tracker import Clusterer, OwnCluster

if TYPE_CHECKING:
    from adaptoff.commands.metrics import Shown


def serve(
    scenario: Scenario, bind: Sequence[str], deadline_s: float, keys: ServerKeys | None, *,
    each: bool = False, shown: "Shown | None" = None, policies: PolicyStore | None = None,
) -> None:  # fmt: skip
    """Say where to connect to, as one line of JSON, then serve until interrupted.

    With ``each`` every device is a cluster of its own, as far as there are clusters; ``shown`` are
    the fleet's metrics, and the policy in use in ``policies`` is handed out to the devices.
    """
    leave_with_stdin()
    profile, clusterer = config.profile_of(scenario), _clusterer(scenario, each=each)
    with FleetServer(scenario, profile, bind, clusterer, keys, deadline_s, policies) as server:
        if shown:
            shown.follow(server)
        ready = Ready(endpoint=server.endpoint, metrics=shown.url if shown else None)
        say(ready)
        notify.ready()
        with suppress(KeyboardInterrupt):
            server.serve()


def _clusterer(scenario: Scenario, *, each: bool) -> Callable[[], Clusterer]:
    """Single devices where there are clusters enough, else k-means. Raises InputError."""
    count = len(scenario.each_device())
    if each or count <= MAX_CLUSTERS:
        return OwnCluster
    if importlib.util.find_spec("sklearn") is None:
        raise InputError(
            f"{scenario.name}: {count} devices: more than {MAX_CLUSTERS} are clustered by "
            "scikit-learn: pip install 'adaptoff[train]'"
        )
    from adaptoff.agents.clustering import Clusters  # noqa: PLC0415 - a board server has no sklearn

    return Clusters
