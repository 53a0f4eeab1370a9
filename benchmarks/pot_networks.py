"""The matrix products of five networks that PoTAcc's delegate would send to the array, batch 1, ImageNet's size.

Convolutions that are not depthwise, and the linear layers of transformers; classifiers with a bias stay on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from potluck.sim.pot.product import Product


class Anchor(NamedTuple):
    """Facts potacc 5.3 of one network.

    ``milliseconds``: by (machine, constants): with 4-bit and with 8-bit weights. ``tiles``: by machine, likewise.
    ``utilization``: percent of the peak while the array computes, by machine, 4-bit weights, ``sysc``.
    """

    layers: int
    giga_macs: float
    milliseconds: dict[tuple[str, str], tuple[float, float]]
    tiles: dict[str, tuple[int, int]]
    utilization: dict[str, int]


def mobilenet_v2() -> list[Product]:
    """Sandler et al., CVPR 2018, table 2."""
    found, channels, side = [Product(112 * 112, 32, 27)], 32, 112
    blocks = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]
    for expansion, out, repeats, stride in blocks:
        for repeat in range(repeats):
            hidden = channels * expansion
            if expansion > 1:
                found.append(Product(side * side, hidden, channels))
            side //= stride if repeat == 0 else 1
            found.append(Product(side * side, out, hidden))
            channels = out
    return [*found, Product(49, 1280, channels)]


def resnet18() -> list[Product]:
    """He et al., CVPR 2016, table 1."""
    found, channels, side = [Product(112 * 112, 64, 147)], 64, 56
    for out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        side //= stride
        rows = side * side
        found.append(Product(rows, out, 9 * channels))
        if stride > 1:
            found.append(Product(rows, out, channels))
        found += [Product(rows, out, 9 * out)] * 3
        channels = out
    return found


def inception_v1() -> list[Product]:
    """Szegedy et al., CVPR 2015, table 1, with the 3x3 kernels of common implementations in the 5x5 branch."""
    found = [Product(112 * 112, 64, 147), Product(56 * 56, 64, 64), Product(56 * 56, 192, 576)]
    modules = [
        (28, 192, 64, 96, 128, 16, 32, 32), (28, 256, 128, 128, 192, 32, 96, 64),
        (14, 480, 192, 96, 208, 16, 48, 64), (14, 512, 160, 112, 224, 24, 64, 64),
        (14, 512, 128, 128, 256, 24, 64, 64), (14, 512, 112, 144, 288, 32, 64, 64),
        (14, 528, 256, 160, 320, 32, 128, 128), (7, 832, 256, 160, 320, 32, 128, 128),
        (7, 832, 384, 192, 384, 48, 128, 128),
    ]  # fmt: skip
    for side, channels, one, reduce3, three, reduce5, five, pool in modules:
        shapes = [(one, channels), (reduce3, channels), (three, 9 * reduce3), (reduce5, channels),
                  (five, 9 * reduce5), (pool, channels)]  # fmt: skip
        found += [Product(side * side, filters, depth) for filters, depth in shapes]
    return found


def deit(width: int) -> list[Product]:
    """Touvron et al., ICML 2021: patches of 16x16, twelve blocks on 197 tokens."""
    block = [Product(197, 3 * width, width), Product(197, width, width), Product(197, 4 * width, width),
             Product(197, width, 4 * width)]  # fmt: skip
    return [Product(196, width, 768), *block * 12]


Z2, KRIA = "pynq-z2", "kria-kv260"


def _anchor(
    layers: int,
    macs: float,
    times: list[tuple[float, float]],
    tiles: list[tuple[int, int]],
    utilization: list[int],
) -> Anchor:
    boards = (Z2, KRIA)
    keys = [(board, constants) for board in boards for constants in ("sysc", "hw")]
    return Anchor(
        layers, macs, dict(zip(keys, times, strict=True)), dict(zip(boards, tiles, strict=True)),
        dict(zip(boards, utilization, strict=True)),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], list[Product]], Anchor]] = {
    "MobileNetV2": (
        mobilenet_v2,
        _anchor(35, 0.279, [(25.1, 25.6), (16.3, 16.7), (13.0, 13.3), (10.6, 10.9)], [(51, 59), (39, 39)], [23, 18]),
    ),
    "ResNet18": (
        resnet18,
        _anchor(20, 1.814, [(72.5, 98.7), (56.2, 68.1), (33.4, 35.3), (25.8, 27.4)], [(211, 402), (64, 67)], [55, 50]),
    ),
    "InceptionV1": (
        inception_v1,
        _anchor(57, 1.497, [(50.8, 55.4), (42.7, 45.3), (27.0, 27.7), (21.3, 22.0)], [(123, 154), (76, 76)], [63, 50]),
    ),
    "DeiT-Tiny": (
        lambda: deit(192),
        _anchor(49, 1.075, [(31.3, 35.2), (29.2, 31.6), (14.9, 15.6), (13.2, 13.9)], [(62, 100), (49, 49)], [72, 63]),
    ),
    "DeiT-Small": (
        lambda: deit(384),
        _anchor(
            49, 4.241, [(117.6, 135.1), (107.0, 116.9), (47.2, 49.9), (43.9, 46.6)], [(184, 318), (61, 61)], [76, 78],
        ),
    ),
}  # fmt: skip
