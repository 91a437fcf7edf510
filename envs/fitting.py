"""Fitting a family of links to rates in equal steps, and the figures by which fits are judged.

Moments are taken of each link's logarithms outside outages, then averaged: variance and
autocorrelation, both corrected for the mean being the sample's own, and the steps' kurtosis, which
tells jumps from drifting. Jump rate and share are those of a grid that come closest to the
autocorrelation at four lags and the kurtosis; the AR coefficient then follows from lag 1. As
outages and short traces still bias what is measured, the fit is repeated until links drawn from it,
as long as the real ones, measure alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptoff.fitted import Family, links
from adaptoff.fleet import Bools, Floats
from adaptoff.processes import OUTAGE

LAGS = np.arange(1, 5)
REPEATS = 6
COPIES = 20
"""drawn links for each real one"""
JUMP_RATES = np.concatenate([np.arange(0.002, 0.02, 0.002), np.arange(0.02, 0.2, 0.01)])
JUMP_SHARES = np.arange(0.0, 0.91, 0.05)
KURTOSIS_WEIGHT = 0.1
LEAST_VARIANCE = 1e-6
MOST_SHIFT = 0.2
"""of the autocorrelation; where outages hide more, a link would have to stand still to make up"""


@dataclass(frozen=True)
class Moments:
    """Of the logarithms of one link's rates, outside outages."""

    mean: float
    variance: float
    correlation: Floats  # (LAGS,)
    steps: Floats  # changes from step to step, in standard deviations
    weight: int


def figures(series: Sequence[Floats]) -> dict[str, float]:
    """Means over links: rate, coefficient of variation, lag-1 autocorrelation of logs, outages."""
    steady = [np.log(rates) for rates in series if np.ptp(rates) > 0]
    return {
        "mean_mbps": float(np.mean([rates.mean() for rates in series]) / 1e6),
        "cv": float(np.mean([rates.std() / rates.mean() for rates in series])),
        "lag1": float(np.mean([np.corrcoef(logs[:-1], logs[1:])[0, 1] for logs in steady])),
        "outage_share": float(np.mean([is_out(rates).mean() for rates in series])),
    }


def fit(series: Sequence[Floats]) -> Family:
    """The family of links with these rates, each (N,) in bits per second."""
    real = figures(series)
    moments = [each for each in map(_moments, series) if each.variance > LEAST_VARIANCE]
    shift, scale = 0.0, 1.0
    for _ in range(REPEATS):
        family = _family(series, moments, shift, scale)
        drawn = figures(simulated(family, series, seed=0))
        shift = float(np.clip(shift + real["lag1"] - drawn["lag1"], -MOST_SHIFT, MOST_SHIFT))
        scale *= real["cv"] / drawn["cv"]
    return family


def simulated(family: Family, like: Sequence[Floats], seed: int) -> list[Floats]:
    """Drawn rates: ``COPIES`` series for each of ``like``, of its length."""
    lengths = [len(rates) for rates in like for _ in range(COPIES)]
    rates = links(np.random.default_rng(seed), family, max(lengths), len(lengths))
    return [rates[:length, i] for i, length in enumerate(lengths)]


def is_out(rates: Floats) -> Bools:
    """Where a link (N,) has less than a quarter of its median."""
    return rates < OUTAGE * np.median(rates)


def _moments(rates: Floats) -> Moments:
    fine = ~is_out(rates)
    logs = np.log(rates)
    mean, weight = logs[fine].mean(), int(fine.sum())
    rest = np.where(fine, logs - mean, 0.0)
    variance = max((rest**2).sum() / weight, LEAST_VARIANCE)
    pairs = [np.maximum((fine[k:] & fine[:-k]).sum(), 1) for k in LAGS]
    products = [(rest[k:] * rest[:-k]).sum() for k in LAGS]
    correlation = np.array(products) / np.array(pairs) / variance
    of_mean = min((1 + correlation[0]) / max(1 - correlation[0], 1e-3) / weight, 0.5)
    return Moments(
        mean=mean,
        variance=variance * (1 + of_mean),
        correlation=(correlation + of_mean) / (1 + of_mean),
        steps=np.diff(logs)[fine[1:] & fine[:-1]] / np.sqrt(variance),
        weight=weight,
    )


def _family(
    series: Sequence[Floats], moments: Sequence[Moments], shift: float, scale: float
) -> Family:
    """What the moments say, their autocorrelation shifted and their deviations scaled."""
    means = np.array([each.mean for each in moments])
    sds = np.log([scale * np.sqrt(each.variance) for each in moments])
    weights = [each.weight for each in moments]
    correlation = np.average([each.correlation for each in moments], 0, weights) + shift
    steps = np.concatenate([each.steps for each in moments])
    rho, jump_rate, jump_share = _unit(correlation, (steps**4).mean() / (steps**2).mean() ** 2)
    rate, length, deepest = _outages(series)
    return Family(
        level_bps=float(np.exp(means).mean() * np.exp(-means.var() / 2)),
        level_sd=float(means.std()),
        sd=float(np.exp(sds.mean())),
        sd_sd=float(sds.std()),
        rho=rho,
        jump_rate=jump_rate,
        jump_share=jump_share,
        outage_rate=rate,
        outage_steps=length,
        outage_deepest=deepest,
    )


def _unit(correlation: Floats, kurtosis: float) -> tuple[float, float, float]:
    """AR coefficient, jump rate and jump share of a unit process with these moments.

    Its autocorrelation is (1 - s) rho^k + s (1 - q)^k, its steps' kurtosis
    3 (1 + q (1 - q) (s / (1 - r))^2) with r that of lag 1.
    """
    lag1 = float(np.clip(correlation[0], 0.0, 0.98))
    rate, share = np.meshgrid(JUMP_RATES, JUMP_SHARES)
    rho = (lag1 - share * (1 - rate)) / (1 - share)
    shape = (1 - share) * rho ** LAGS[:, None, None] + share * (1 - rate) ** LAGS[:, None, None]
    tails = 3 * (1 + rate * (1 - rate) * (share / (1 - lag1)) ** 2)
    error = ((shape - correlation[:, None, None]) ** 2).sum(0)
    error += (KURTOSIS_WEIGHT * np.log(tails / kurtosis)) ** 2
    best = np.where((rho >= 0) & (rho <= 0.98), error, np.inf).argmin()
    return float(rho.flat[best]), float(rate.flat[best]), float(share.flat[best])


def _outages(series: Sequence[Floats]) -> tuple[float, float, float]:
    """Rate, mean length and deepest log factor: twice as far below the threshold as the mean."""
    out = [is_out(rates) for rates in series]
    n_out, starts = sum(each.sum() for each in out), sum((~o[:-1] & o[1:]).sum() for o in out)
    fine = sum((~each[:-1]).sum() for each in out)
    if not starts:
        return 0.0, 1.0, float(np.log(OUTAGE))
    depth = np.concatenate([np.log(r[o] / np.median(r)) for r, o in zip(series, out, strict=True)])
    deepest = 2 * depth.mean() - np.log(OUTAGE)
    return float(starts / fine), float(max(n_out / starts, 1.0)), float(deepest)
