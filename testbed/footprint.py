"""What each cut of a network costs by counting: bytes that travel, memory, FLOPs.

FLOPs are those of convolutions and matrix products, two per multiply-add. BatchNorm, ReLU and
pooling are not counted, though they take time: seconds say more.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from adaptoff.profile import Cut, Mode
from adaptoff.testbed.models import activation_shapes, cut_names
from adaptoff.testbed.split import export_state

Shape = tuple[int, ...]
LABEL_BYTES = torch.int64.itemsize


def count(model: nn.Sequential, sample: Shape, batch_size: int, mode: Mode) -> list[Cut]:
    """Every cut, 0..native, for batches of inputs of the shape ``sample``; seconds are left open.

    The statistics of BatchNorm change.
    """
    shapes = [(batch_size, *shape) for shape in activation_shapes(model, sample)]
    names = cut_names(model)
    return [
        Cut(
            name=names[cut],
            **_traffic(cut, model, shapes, mode),
            **_memory(model[:cut], sample, batch_size, mode),
            device_flops=_flops(model[:cut], shapes[0], mode, wants_gradient=False),
            server_flops=_flops(model[cut:], shapes[cut], mode, wants_gradient=cut > 0),
        )
        for cut in range(len(shapes))
    ]


def _traffic(cut: int, model: nn.Sequential, shapes: list[Shape], mode: Mode) -> dict[str, int]:
    """The fields of ``Cut`` that travel; at the last cut nothing but the weights does."""
    training, split = mode == "training", cut < len(model)
    up_bytes = _nbytes(shapes[cut]) + LABEL_BYTES * shapes[cut][0] * training
    down_bytes = _nbytes(shapes[cut]) * (cut > 0) if training else _nbytes(shapes[-1])
    return {
        "up_bytes": up_bytes if split else 0,
        "down_bytes": down_bytes if split else 0,
        "sync_bytes": _state_bytes(model[:cut]) if training else 0,
    }


def _nbytes(shape: Shape) -> int:
    return torch.float32.itemsize * prod(shape)


def _state_bytes(blocks: nn.Module) -> int:
    return sum(array.nbytes for array in export_state(blocks))


def _memory(blocks: nn.Module, sample: Shape, batch_size: int, mode: Mode) -> dict[str, int]:
    """Most of what a device holds for its blocks, without the libraries and the data set.

    Training: state, gradients and momentum; the batch, all that the backward pass needs, and the
    activations at the cut with their gradient. Inference: state; the batch, and of the block that
    has most, its input and all that it computes, as if nothing were freed within a block.
    What grows with the batch is told from what does not by two small batches.
    """
    training = mode == "training"
    working_bytes = _training_bytes if training else _inference_bytes
    few, more = (working_bytes(blocks.train(training), torch.zeros(n, *sample)) for n in (2, 4))
    each = (more - few) // 2
    gradients_and_momentum = 2 * training * sum(p.nbytes for p in blocks.parameters())
    fixed = _state_bytes(blocks) + gradients_and_momentum + few - 2 * each
    return {"memory_bytes": fixed + each * batch_size, "weights_memory_bytes": fixed}


def _training_bytes(blocks: nn.Module, inputs: Tensor) -> int:
    """The batch, what autograd keeps of a forward pass, and the result with its gradient."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = blocks(inputs)
    held = _memory_of(kept, besides=[inputs, result, *blocks.state_dict().values()])
    return inputs.nbytes + held + 2 * result.nbytes * (result is not inputs)


def _inference_bytes(blocks: nn.Module, inputs: Tensor) -> int:
    """The batch, and the input and the results of the block that has most of both."""
    own = [inputs, *blocks.state_dict().values()]
    largest, value = 0, inputs
    for block in blocks.children():
        with torch.inference_mode(), _Results() as results:
            before, value = value, block(value)
        largest = max(largest, _memory_of([before, *results.tensors], besides=own))
    return inputs.nbytes + largest


class _Results(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps every tensor that is computed while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tensors: list[Tensor] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        self.tensors += [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        return result


def _memory_of(tensors: Iterable[Tensor], besides: Iterable[Tensor]) -> int:
    """Bytes behind tensors that are alive, each memory once, without that of ``besides``."""

    def memories(of: Iterable[Tensor]) -> dict[int, int]:
        storages = [tensor.untyped_storage() for tensor in of]
        return {storage.data_ptr(): storage.nbytes() for storage in storages}

    mine, others = memories(tensors), memories(besides)
    return sum(nbytes for place, nbytes in mine.items() if place not in others)


def _flops(blocks: nn.Module, inputs: Shape, mode: Mode, *, wants_gradient: bool) -> int:
    """FLOPs of a pass over ``blocks``, in training forward and backward.

    ``wants_gradient``: of the inputs, too. Nothing is computed: the tensors are shapes only.
    """
    training = mode == "training"
    shadow = deepcopy(blocks).to("meta").train(training)
    values = torch.empty(inputs, device="meta", requires_grad=training and wants_gradient)
    formulas = {torch.ops.aten.convolution_backward: _convolution_backward_flops}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.set_grad_enabled(training), counter:
        result = shadow(values)
        if result.requires_grad:
            result.sum().backward()
    return counter.get_total_flops()


def _convolution_backward_flops(
    grad: Shape,
    inputs: Shape,
    weight: Shape,
    *rest: Any,  # noqa: ANN401  (bias sizes, ..., transposed, ..., which gradients are wanted)
    **_: object,
) -> int:
    """As many as forward, for each of the gradients wanted; torch's own ignores ``groups``."""
    transposed, (wants_inputs, wants_weight, _bias) = rest[4], rest[7]
    positions = prod(inputs if transposed else grad)
    return 2 * positions * prod(weight[1:]) * (wants_inputs + wants_weight)
