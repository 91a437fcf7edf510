"""Hyper-parameters of training, from defaults, a TOML file, a checkpoint and the command line."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from adaptoff.envs.sampler import Limits
from adaptoff.errors import InputError

Unit = Annotated[float, Meta(ge=0, le=1)]
Steps = Annotated[int, Meta(ge=1, le=10**10)]
Layer = tuple[str, Mapping[str, Any]]
"""values by key, and the name of their source"""


@dataclass(frozen=True)
class TrainConfig:
    """Hyper-parameters; a step is one round of one fleet."""

    steps: Steps = 400_000
    """in all, rounded up to whole legs"""
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    """of weights, choices and fleets"""
    n_fleets: Annotated[int, Meta(ge=1, le=4096)] = 256
    """fleets stepped at once"""
    rounds: Annotated[int, Meta(ge=1, le=10_000)] = 32
    """rounds of an episode, after which all fleets are drawn anew"""
    n_steps: Annotated[int, Meta(ge=2, le=4096)] = 16
    """rounds between two updates"""
    batch_size: Annotated[int, Meta(ge=2, le=1 << 20)] = 1024
    """steps of a minibatch"""
    epochs: Annotated[int, Meta(ge=1, le=100)] = 4
    """how often an update goes over its steps"""
    learning_rate: Annotated[float, Meta(ge=1e-7, le=1)] = 2e-3
    """at the start; falls linearly to zero at ``steps``"""
    clip: Annotated[float, Meta(ge=0.01, le=1)] = 0.2
    """how far an update may change the probability of a choice"""
    entropy: Unit = 0.0
    """weight of the entropy bonus"""
    max_grad_norm: Annotated[float, Meta(ge=1e-3, le=1e3)] = 0.5
    """longer gradients are shortened to this"""
    clusters: Annotated[int, Meta(ge=1, le=8)] = 5
    """most clusters of a drawn fleet, as cuts and opps below"""
    cuts: Annotated[int, Meta(ge=3, le=64)] = 9
    opps: Annotated[int, Meta(ge=1, le=8)] = 4
    checkpoint_every: Steps = 100_000
    """steps between checkpoints, rounded up to whole legs"""
    evaluate_every: Steps = 20_000
    """steps between evaluations on the validation fleets, rounded up to whole legs"""
    validation_fleets: Annotated[int, Meta(ge=1, le=4096)] = 256
    validation_rounds: Annotated[int, Meta(ge=1, le=10_000)] = 8
    patience: Annotated[int, Meta(ge=0, le=10**6)] = 0
    """stop after so many evaluations without a new best one; 0: never"""
    target_regret: Unit = 0.0
    """stop as soon as the validation regret is this low; 0: never"""

    def __post_init__(self) -> None:
        """Raises InputError naming field and what is allowed."""
        for name, value in asdict(self).items():
            checked(name, value)
        steps = self.n_fleets * self.n_steps
        if steps % self.batch_size:
            raise InputError(
                f"batch_size = {self.batch_size}: must divide n_fleets x n_steps = {steps}"
            )
        Limits(self.clusters, self.cuts, self.opps)

    @property
    def limits(self) -> Limits:
        """Sizes of the drawn fleets."""
        return Limits(self.clusters, self.cuts, self.opps)

    @property
    def leg(self) -> int:
        """Fewest steps after which an update and an episode end together."""
        return self.n_fleets * math.lcm(self.rounds, self.n_steps)

    def legs_to(self, steps: int) -> int:
        """The steps of the fewest legs that have at least ``steps``."""
        return -(-steps // self.leg) * self.leg


KINDS = get_type_hints(TrainConfig, include_extras=True)


def checked(name: str, value: object) -> Any:  # noqa: ANN401
    """The value in its field's type; raises InputError naming the field and what is allowed."""
    if name not in KINDS:
        raise InputError(f"{name}: no such key; allowed: {', '.join(KINDS)}")
    try:
        return msgspec.convert(value, KINDS[name])
    except msgspec.ValidationError:
        kind, within = get_args(KINDS[name])
        raise InputError(
            f"{name} = {value!r}: must be {kind.__name__} from {within.ge} to {within.le}"
        ) from None


def merged(layers: Iterable[Layer]) -> TrainConfig:
    """The defaults, with the values of ``layers`` on top, later ones over earlier ones.

    Raises InputError naming source, key and what is allowed.
    """
    values: dict[str, Any] = {}
    for source, layer in layers:
        try:
            values |= {name: checked(name, value) for name, value in layer.items()}
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
    return TrainConfig(**values)


def of_file(path: Path) -> Layer:
    """The keys of a TOML file; raises InputError naming it."""
    try:
        return str(path), tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, or no TOML
        raise InputError(f"{path}: not TOML: {error}") from None


def of_overrides(overrides: Iterable[str]) -> Layer:
    """``key=value`` with TOML values; raises InputError."""
    return "--set", dict(_override(text) for text in overrides)


def _override(text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found:
        raise InputError(f"--set {text}: must be key=value, as entropy=0.01")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        raise InputError(f"--set {text}: no TOML value: {value}") from None
