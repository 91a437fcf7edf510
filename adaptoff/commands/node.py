"""``adaptoff serve`` and ``adaptoff device``: one process of the testbed each."""

import sys

import msgspec

from adaptoff import config
from adaptoff.agents.clustering import Clusters
from adaptoff.commands.children import Ready, leave_with_stdin
from adaptoff.policy import Policy
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario, Workload
from adaptoff.testbed import device
from adaptoff.testbed.measure import measure_profile
from adaptoff.testbed.server import Server
from adaptoff.testbed.split import single_thread

MOST_REPEATS, MEASURE_S = 12, 40.0
"""of measuring the profile: as many as fit, at least two"""


def serve(scenario: Scenario, bind: str, dilation: float, *, measure: bool) -> None:
    """Say where to connect to, as one line of JSON, then serve until the driver leaves."""
    leave_with_stdin()
    single_thread()
    profile = config.profile_of(scenario)
    if measure:
        profile = _measured(profile, scenario.workload)
    with Server(scenario, profile, dilation, bind, Clusters) as server:
        sys.stdout.buffer.write(msgspec.json.encode(Ready(endpoint=server.endpoint)) + b"\n")
        sys.stdout.buffer.flush()
        server.serve()


def _measured(shipped: Profile, work: Workload) -> Profile:
    """The profile as this machine has it; seconds of classes of boards stay as they were."""
    each_s = sum(shipped.column("device_s", work.batch_size))
    each_s += sum(shipped.column("server_s", work.batch_size))
    repeats = min(max(int(MEASURE_S / max(each_s, 1e-9)), 2), MOST_REPEATS)
    classes = {n: shipped.column("device_s", work.batch_size, n) for n in shipped.classes}
    measured = measure_profile(work.model, work.batch_size, repeats)
    return msgspec.structs.replace(measured, classes=classes)


def join(endpoint: str, number: int, policy: Policy) -> None:
    """Be device ``number`` of the server's scenario until it says goodbye."""
    leave_with_stdin()
    single_thread()
    device.run(endpoint, number, policy)
