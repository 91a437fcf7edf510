"""From fleet backends to Gymnasium environments.

Importing this package registers ``adaptoff/Fleet-v0`` (emulated) and ``adaptoff/LiveFleet-v0``;
``gymnasium.register_envs(adaptoff.envs)`` says so to readers and linters.
"""

import gymnasium

gymnasium.register(id="adaptoff/Fleet-v0", entry_point="adaptoff.envs.fleet_env:make")
gymnasium.register(
    id="adaptoff/LiveFleet-v0",
    entry_point="adaptoff.envs.fleet_env:make_live",
    nondeterministic=True,
)
