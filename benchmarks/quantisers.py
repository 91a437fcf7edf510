"""Ways to make eight bits of a gradient, by what they do to the weights' gradients on the device.

``python benchmarks/quantisers.py [--model vgg5] [--passes 4] [--cuts conv1 pool1 pool2] [--json]``

A network is trained on the digits, unsplit. After each pass over them, one batch's gradient at each
cut is quantised in each way, and goes back through the device's blocks. Figures are relative errors
of the gradient of their weights: the norm of the difference over that of the exact one.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adaptoff.testbed import data, models
from adaptoff.testbed.split import Sgd, single_thread

BATCH_SIZE = 50
LEVELS = 254
LEAST_STEP = float(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class Quantiser:
    """Equal steps between least and most over the axes ``over`` of (samples, channels, ...)."""

    name: str
    over: tuple[int, ...]
    zero_exact: bool = False
    stochastic: bool = False
    """round up with the probability of the remainder, not to the nearest"""

    def __call__(self, values: Tensor) -> Tensor:
        """There and back."""
        low, high = (f(values, self.over, keepdim=True) for f in (torch.amin, torch.amax))
        step = (high - low) / LEVELS
        per_step = torch.where(step < LEAST_STEP, 0.0, 1 / step)
        if self.zero_exact:
            low = torch.where((low <= 0) & (high >= 0), torch.round(low * per_step) * step, low)
        shift = torch.rand_like(values) if self.stochastic else 0.5
        return ((values - low) * per_step + shift).floor().clamp(0, 255) * step + low


ALL, CHANNEL, SAMPLE = (0, 1, 2, 3), (0, 2, 3), (1, 2, 3)
QUANTISERS = (
    Quantiser("tensor, least to most (JALAD)", ALL),
    Quantiser("channel, least to most", CHANNEL),
    Quantiser("channel, zero exact", CHANNEL, zero_exact=True),
    Quantiser("sample, least to most", SAMPLE),
    Quantiser("sample, zero exact", SAMPLE, zero_exact=True),
    Quantiser("the same, stochastic", SAMPLE, zero_exact=True, stochastic=True),
)
Errors = dict[str, dict[str, list[float]]]
"""by quantiser and cut, one for each pass"""


def measure(options: argparse.Namespace) -> Errors:
    """Train and compare."""
    model = models.build(options.model, 0).train()
    names = models.cut_names(model)
    found: Errors = {each.name: {cut: [] for cut in options.cuts} for each in QUANTISERS}
    for images, labels in passes(model, options.passes):
        for cut in options.cuts:
            device, server = (model[: names.index(cut)], model[names.index(cut) :])
            for name, error in errors(device, server, images, labels).items():
                found[name][cut].append(error)
    return found


def passes(model: nn.Sequential, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Train; yields the last batch of each pass, which is not trained on."""
    samples, _ = data.load("digits")
    n_batches, sgd = len(samples) // BATCH_SIZE, Sgd(model.parameters(), 0.01, 0.9)
    for index in range(count):
        *most, last = data.batches(samples, 0, 0, index, BATCH_SIZE, n_batches)
        for images, labels in most:
            loss = cross_entropy(model(torch.from_numpy(images)), torch.from_numpy(labels))
            loss.backward()  # type: ignore[no-untyped-call]
            sgd.step()
        yield torch.from_numpy(last[0]), torch.from_numpy(last[1])


def errors(
    device: nn.Module, server: nn.Module, images: Tensor, labels: Tensor
) -> dict[str, float]:
    """Of each quantiser, at one cut."""
    activations = device(images)
    received = activations.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(server(received), labels), received)
    weights = [*device.parameters()]

    def back(values: Tensor) -> Tensor:
        found = torch.autograd.grad(activations, weights, values, retain_graph=True)
        return torch.cat([each.flatten() for each in found])

    exact = back(gradient)
    return {q.name: float((back(q(gradient)) - exact).norm() / exact.norm()) for q in QUANTISERS}


def table(found: Errors) -> Table:
    """Least and most over the passes, in per cent."""
    cuts = [*next(iter(found.values()))]
    made = Table("range of", *cuts, title="error of the weights' gradients, per cent", box=None)
    for name, by_cut in found.items():
        spans = (f"{100 * min(each):.2g} - {100 * max(each):.2g}" for each in by_cut.values())
        made.add_row(name, *spans)
    return made


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vgg5", choices=models.MODELS)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--cuts", nargs="+", default=["conv1", "pool1", "pool2"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    allowed = models.cut_names(models.build(options.model, 0))[1:-1]
    if wrong := [name for name in options.cuts if name not in allowed]:
        parser.error(f"--cuts {', '.join(wrong)}: allowed are {', '.join(allowed)}")
    single_thread()
    torch.manual_seed(0)
    found = measure(options)
    if options.json:
        print(json.dumps({"options": vars(options), "errors": found}))
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
