"""How fast a server is that nobody profiles: from how long devices waited for it.

The cost model (``adaptoff.cost``) says of device i, with its B batches at its cut,

    server_s_i = B * work_server(cut_i) / speed * sharing_i
    sharing_i  = 1 + sum over others o of (server_s_o / total_s_o) * min(1, total_s_o / total_s_i)

and all but ``speed`` is known after a round, so that

    speed = sum_i B * work_server(cut_i) * sharing_i / sum_i server_s_i
"""

from collections.abc import Sequence

import numpy as np

from adaptoff.messages import Telemetry
from adaptoff.profile import Profile
from adaptoff.scenario import Workload
from adaptoff.ways import column, way_of

SLOWEST, FASTEST = 1e-3, 1e5
LEAST_S = 1e-9


def estimated(work: Workload, profile: Profile, seen: Sequence[Telemetry]) -> float | None:
    """Reference cores by the formula above; None if no device had the server work for it."""
    each_s = np.array(column(profile, [way_of(t) for t in seen], "server_s", work.batch_size))
    work_s = work.batches * each_s
    server_s = np.where(each_s > 0, [t.server_s for t in seen], 0.0)
    if not (work_s * server_s).any():
        return None
    total_s = np.maximum([t.total_s for t in seen], LEAST_S)
    occupied = np.minimum(server_s / total_s, 1.0)
    met = occupied[:, None] * np.minimum(1.0, total_s[:, None] / total_s[None, :])
    sharing = 1 + met.sum(0) - occupied
    return bounded((work_s * sharing).sum() / server_s.sum())


def bounded(speed: float) -> float:
    """Reference cores that a server may have, whatever it is said to have."""
    return float(np.clip(speed, SLOWEST, FASTEST))
