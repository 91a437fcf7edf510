"""``adaptoff serve`` and ``adaptoff device``: one process of the testbed each."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from adaptoff import config, notify
from adaptoff.commands.children import Ready, leave_with_stdin
from adaptoff.policy import Policy
from adaptoff.policy_store import PolicyStore
from adaptoff.profile import Profile
from adaptoff.scenario import Scenario, Workload
from adaptoff.stdout import say
from adaptoff.testbed import data, device
from adaptoff.testbed.keys import ClientKeys, ServerKeys
from adaptoff.testbed.netcontrol import Control
from adaptoff.testbed.real_board import Machine
from adaptoff.testbed.rounds import MakeShaping
from adaptoff.testbed.server import Server
from adaptoff.testbed.shaping import AsTheyAre, Kernel, Pacing
from adaptoff.testbed.split import single_thread
from adaptoff.testbed.tracker import Clusterer, OwnCluster

if TYPE_CHECKING:
    from adaptoff.commands.metrics import Shown
    from adaptoff.metrics import DeviceMetrics

MOST_REPEATS, MEASURE_S = 12, 40.0
"""of measuring the profile: as many as fit, at least two"""


def serve(
    scenario: Scenario, bind: Sequence[str], dilation: float, *, measure: bool, each: bool = False,
    keys: ServerKeys | None = None, shaping: MakeShaping = Pacing, stay: bool = False,
    shown: "Shown | None" = None, policies: PolicyStore | None = None,
) -> None:  # fmt: skip
    """Say where to connect to, as one line of JSON, then serve until the driver leaves.

    With ``stay`` the next driver is waited for; ``shown`` are the fleet's metrics, and the policy
    in use in ``policies`` is handed out to the devices.
    """
    leave_with_stdin()
    single_thread()
    profile = config.profile_of(scenario)
    data.load(scenario.workload.dataset, scenario.workload.data_dir)  # fails before the long part
    if measure:
        profile = _measured(profile, scenario.workload)
    clusterer = _clusterer(each=each)
    with Server(scenario, profile, dilation, bind, clusterer, keys, shaping, policies) as server:
        if shown:
            shown.follow(server)
        ready = Ready(endpoint=server.endpoint, metrics=shown.url if shown else None)
        say(ready)
        server.serve(stay=stay)


@contextmanager
def shaped(network: str | None, *, pace: bool) -> Iterator[MakeShaping]:
    """What the server does about links; ``network`` is the path of a network's control."""
    if not network:
        yield Pacing if pace else lambda *_: AsTheyAre()
        return
    with Control(network) as control:
        yield lambda schedules, dilation: Kernel(schedules, dilation, control)


def _clusterer(*, each: bool) -> Callable[[], Clusterer]:
    if each:
        return OwnCluster
    from adaptoff.agents.clustering import Clusters  # noqa: PLC0415 - a device needs no sklearn

    return Clusters


def _measured(shipped: Profile, work: Workload) -> Profile:
    """The profile as this machine has it; seconds of classes of boards stay as they were."""
    from adaptoff.testbed.measure import WARM_UP, measure_profile  # noqa: PLC0415 - as above

    each_s = sum(shipped.column("device_s", work.batch_size))
    each_s += sum(shipped.column("server_s", work.batch_size))
    passes = int(MEASURE_S / max(2 * each_s, 1e-9))  # a pass trains two batches at each cut
    repeats = min(max(passes - WARM_UP, 2), MOST_REPEATS)
    classes = {n: shipped.column("device_s", work.batch_size, n) for n in shipped.classes}
    measured = measure_profile(work.model, work.batch_size, repeats)
    return msgspec.structs.replace(measured, classes=classes)


def join(
    endpoint: str, number: int, policy: Policy, data_dir: str | None = None,
    keys: ClientKeys | None = None, machine: Machine | None = None,
    metrics: "DeviceMetrics | None" = None, store: PolicyStore | None = None,
) -> None:  # fmt: skip
    """Be device ``number`` of the server's scenario until it says goodbye.

    ``data_dir`` is where this device has its data set, if not where the scenario says. With
    ``machine`` its clocks are set, else emulated; ``store`` keeps what policy the server hands out.
    """
    leave_with_stdin()
    single_thread()
    notify.ready(f"device {number} of {endpoint}")
    device.run(endpoint, number, policy, data_dir, keys, machine, metrics, store)
    notify.stopping()
