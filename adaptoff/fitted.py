"""Link processes fitted to real traces, by family: parameters only, and how to draw from them.

A link has a level; around it, the logarithm of its rate is ``sd`` times a unit process: a share
``jump_share`` of its variance jumps anew with probability ``jump_rate`` a step, the rest is an
AR(1) with coefficient ``rho``; outages come on top. Links differ in level and in ``sd``,
log-normally. ``benchmarks/links.py`` fits them and says how well they reproduce the traces.

Sources: hsdpa, 3G while travelling, fcc16, wired broadband, and oboe, video sessions, are downlinks
from confiwent/Real-world-bandwidth-traces; starlink, LEO satellite from a car, is the downlink of
sys-uos/Starlink-on-the-Autobahn, whose uplink is about a fourteenth of it.
"""

from dataclasses import dataclass, fields

import numpy as np

from adaptoff.fleet import Floats, Ints
from adaptoff.processes import autoregression, held, outages


@dataclass(frozen=True)
class Family:
    """Parameters of one family: scalars, or arrays of one shape for many links."""

    level_bps: Floats | float  # median over links
    level_sd: Floats | float  # of the logarithm of the level, between links
    sd: Floats | float  # of the logarithm of the rate, median over links
    sd_sd: Floats | float  # of the logarithm of ``sd``, between links
    rho: Floats | float  # of the AR(1), from step to step
    jump_rate: Floats | float  # a step
    jump_share: Floats | float  # of the variance
    outage_rate: Floats | float  # a step
    outage_steps: Floats | float  # mean length
    outage_deepest: Floats | float  # natural logarithm, of the level


# fmt: off
FAMILIES = {  # level, its sd, sd, its sd, rho, jumps: rate, share, outages: rate, steps, deepest
    "fcc16": Family(9.7e+05, 0.659, 0.225, 0.725, 0.0188, 0.06, 0.65, 0.0104, 1.21, -4.03),
    "hsdpa": Family(1.08e+06, 0.438, 0.395, 0.383, 0.827, 0.18, 0.35, 0.00494, 1.85, -1.88),
    "oboe": Family(2.47e+06, 0.596, 0.151, 0.818, 0.686, 0.19, 0.45, 0.000373, 3, -2.28),
    "starlink": Family(1.94e+08, 0.193, 0.498, 0.209, 0.857, 0.14, 0.35, 0.0141, 2.2, -5.12),
}
# fmt: on
"""in steps of ``STEP_S``, as long as a round; docs/decisions/0016 has those of 1 s"""
STEP_S = 5.0


def links(rng: np.random.Generator, family: Family, steps: int, n_links: int) -> Floats:
    """Rates (T, N) in bits per second of ``n_links`` links of one family."""
    every = Family(**{f.name: np.full(n_links, getattr(family, f.name)) for f in fields(Family)})
    level = np.log(every.level_bps) + every.level_sd * rng.standard_normal(n_links)
    return np.exp(level + moves(rng, steps, every))


def moves(rng: np.random.Generator, steps: int, family: Family) -> Floats:
    """Logarithms (T, ...) of rate over level; the family's fields are arrays (...)."""
    rho, share = np.asarray(family.rho), np.asarray(family.jump_share)
    smooth = autoregression(rng, steps, rho, np.sqrt(1 - rho**2))
    jumps = held(rng, rng.standard_normal(smooth.shape), family.jump_rate)
    between = np.clip(rng.standard_normal(rho.shape), -2.0, 2.0)
    sd = family.sd * np.exp(family.sd_sd * between)
    usual = sd * (np.sqrt(1 - share) * smooth + np.sqrt(share) * jumps)
    rate = np.asarray(family.outage_rate)
    out = outages(rng, steps, rate, family.outage_steps, family.outage_deepest)
    return np.where(out < 0, out, usual)


def pick(family: Ints) -> Family:
    """The parameters of families (...), indices into ``FAMILIES``, as arrays."""
    table = list(FAMILIES.values())
    columns = {f.name: np.array([getattr(each, f.name) for each in table]) for f in fields(Family)}
    return Family(**{name: column[family] for name, column in columns.items()})
