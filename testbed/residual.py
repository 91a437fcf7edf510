"""Networks with residual connections, cut only where a single tensor crosses.

A residual connection lies within a block, so a cut at a block's edge is exact. Both are the
variants for images of 32x32: the first layers keep the resolution. ResNet-18 is He et al., CVPR
2016; MobileNetV2 is Sandler et al., CVPR 2018.
"""

from collections import OrderedDict

from torch import Tensor, nn


class Residual(nn.Module):
    """``after(body(x) + shortcut(x))``."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, inputs: Tensor) -> Tensor:
        """Activations (batch, channels, height, width) to those of the next block."""
        result: Tensor = self.after(self.body(inputs) + self.shortcut(inputs))
        return result


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """A convolution that keeps the size but for its stride, and its BatchNorm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def _head(features: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes)]


def resnet18(classes: int) -> nn.Sequential:
    """ResNet-18: a stem, four stages of two basic blocks, a head; 11.2 million parameters."""
    blocks: list[tuple[str, nn.Module]] = [("stem", nn.Sequential(*_conv(3, 64, 3), nn.ReLU()))]
    inputs = 64
    for stage, outputs in enumerate((64, 128, 256, 512), 1):
        for part, stride in (("a", 1 if stage == 1 else 2), ("b", 1)):
            blocks.append((f"block{stage}{part}", _basic(inputs, outputs, stride)))
            inputs = outputs
    return nn.Sequential(OrderedDict([*blocks, ("head", nn.Sequential(*_head(inputs, classes)))]))


def _basic(inputs: int, outputs: int, stride: int) -> Residual:
    same = stride == 1 and inputs == outputs
    shortcut = nn.Identity() if same else nn.Sequential(*_conv(inputs, outputs, 1, stride))
    body = [*_conv(inputs, outputs, 3, stride), nn.ReLU(), *_conv(outputs, outputs, 3)]
    return Residual(nn.Sequential(*body), shortcut, nn.ReLU())


_STAGES = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
"""channels, blocks, stride of the first block"""
_EXPANSION = 6


def mobilenetv2(classes: int) -> nn.Sequential:
    """MobileNetV2 of width 1: 17 inverted residuals; 2.2 million parameters.

    The first one is part of the stem and the last one of the head, which leaves 18 cuts.
    """
    inverted: list[tuple[str, nn.Module]] = []
    inputs = 32
    for stage, (outputs, repeats, first_stride) in enumerate(_STAGES, 1):
        for index in range(repeats):
            expansion, stride = _EXPANSION if stage > 1 else 1, 1 if index else first_stride
            block = _inverted(inputs, outputs, expansion, stride)
            inverted.append((f"block{stage}{'abcd'[index]}", block))
            inputs = outputs
    (_, first), *middle, (_, last) = inverted
    stem = nn.Sequential(*_conv(3, 32, 3), nn.ReLU6(), first)
    head = nn.Sequential(last, *_conv(inputs, 1280, 1), nn.ReLU6(), *_head(1280, classes))
    return nn.Sequential(OrderedDict([("stem", stem), *middle, ("head", head)]))


def _inverted(inputs: int, outputs: int, expansion: int, stride: int) -> nn.Module:
    """Widen, filter each channel, narrow; with a shortcut where the shape stays."""
    wide = inputs * expansion
    widen = [*_conv(inputs, wide, 1), nn.ReLU6()] if expansion > 1 else []
    filter_ = [*_conv(wide, wide, 3, stride, groups=wide), nn.ReLU6()]
    body = nn.Sequential(*widen, *filter_, *_conv(wide, outputs, 1))
    same = stride == 1 and inputs == outputs
    return Residual(body, nn.Identity(), nn.Identity()) if same else body
