"""Everything adaptoff raises on purpose.

AdaptoffError            catch this to catch all; carries the exit code of the CLI
├── InputError           the user's input is wrong: names file, field, allowed values (exit 2)
│   ├── ScenarioError    a scenario file or an override
│   ├── ProfileError     a DNN profile
│   ├── TraceError       a bandwidth trace
│   ├── PolicyError      a frozen policy or a checkpoint
│   ├── DatasetError     training data
│   └── KeysError        a key file or the list of who is let in
└── RunError             the input was fine, the run failed (exit 1)
    ├── WireError        a peer sent what the protocol does not allow
    │   ├── Malformed    bytes that do not decode, are truncated or trail
    │   ├── Oversize     more bytes, frames or elements than the bounds allow
    │   └── BadTensor    a shape, dtype or value that the receiver does not accept
    └── LinkError        the connection, not its content
        ├── PeerLost     a peer went silent or its process ended
        ├── Deadline     an answer did not come in time
        └── NetworkError the emulated network cannot be made or changed
"""


class AdaptoffError(Exception):
    """Base of all errors that adaptoff raises on purpose."""

    exit_code = 1


class InputError(AdaptoffError):
    """The user's input is wrong; the message is one line that says what is allowed."""

    exit_code = 2


class ScenarioError(InputError):
    """A scenario file or an override is wrong."""


class ProfileError(InputError):
    """A DNN profile is wrong."""


class TraceError(InputError):
    """A bandwidth trace is wrong."""


class PolicyError(InputError):
    """A frozen policy or a checkpoint is wrong."""


class DatasetError(InputError):
    """Training data is wrong or missing."""


class KeysError(InputError):
    """A key file or the list of who is let in is wrong, missing or open to others."""


class RunError(AdaptoffError):
    """The input was fine, the run failed."""


class WireError(RunError):
    """A peer sent what the protocol does not allow."""


class Malformed(WireError):
    """Bytes that do not decode, are truncated or trail."""


class Oversize(WireError):
    """More bytes, frames or elements than the bounds allow."""


class BadTensor(WireError):
    """A shape, dtype or value that the receiver does not accept."""


class LinkError(RunError):
    """The connection failed, not its content."""


class PeerLost(LinkError):
    """A peer went silent or its process ended."""


class Deadline(LinkError):
    """An answer did not come in time."""


class NetworkError(LinkError):
    """The emulated network cannot be made or changed."""
