"""``adaptoff serve`` and ``adaptoff device``: one process of the testbed each."""

import sys

import msgspec

from adaptoff import config
from adaptoff.agents.clustering import Clusters
from adaptoff.commands.children import Ready, leave_with_stdin
from adaptoff.policy import Policy
from adaptoff.scenario import Scenario
from adaptoff.testbed import device
from adaptoff.testbed.measure import measure_profile
from adaptoff.testbed.server import Server
from adaptoff.testbed.split import single_thread

REPEATS = 12


def serve(scenario: Scenario, bind: str, dilation: float, *, measure: bool) -> None:
    """Say where to connect to, as one line of JSON, then serve until the driver leaves."""
    leave_with_stdin()
    single_thread()
    work = scenario.workload
    profile = config.profile_of(scenario)
    if measure:
        profile = measure_profile(work.model, work.batch_size, REPEATS)
    with Server(scenario, profile, dilation, bind, Clusters) as server:
        sys.stdout.buffer.write(msgspec.json.encode(Ready(endpoint=server.endpoint)) + b"\n")
        sys.stdout.buffer.flush()
        server.serve()


def join(endpoint: str, number: int, policy: Policy) -> None:
    """Be device ``number`` of the server's scenario until it says goodbye."""
    leave_with_stdin()
    single_thread()
    device.run(endpoint, number, policy)
