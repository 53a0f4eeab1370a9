"""Rendered text for OCR: lines and pages in fonts that packages carry, on uneven paper, blurred and noisy.

The text is the Open Font License, which comes with the fonts. Everything follows from seeds.
"""

from __future__ import annotations

import io
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.zoo import packages

SANS, SERIF = "font-source-sans-pro", "font-source-serif-pro"
PACKAGES = (SANS, SERIF)
FACES = (
    (SANS, "font_source_sans_pro/files/SourceSansPro-Regular.ttf"),
    (SANS, "font_source_sans_pro/files/SourceSansPro-Semibold.ttf"),
    (SERIF, "font_source_serif_pro/files/SourceSerifPro-Regular.ttf"),
    (SERIF, "font_source_serif_pro/files/SourceSerifPro-It.ttf"),
)
TEXT = "font_source_sans_pro/files/LICENSE.txt"


@cache
def lines(width: int) -> tuple[str, ...]:
    """The text, cut between words into lines of at most `width` characters."""
    text = packages.read(SANS, TEXT).decode("utf-8-sig", "replace")
    plain = re.sub(rf"[^!-~]+|-{{3,}}|https?\S*|\S{{{width + 1},}}", " ", text)
    return tuple(line for line in textwrap.wrap(plain, width) if len(line) > width // 2)


@cache
def face(index: int, size: int) -> Any:
    """A font of `FACES`.

    Raises:
        ToolError: Pillow is not installed.
    """
    with packages.extra("rendering text"):
        from PIL import ImageFont
    return ImageFont.truetype(io.BytesIO(packages.read(*FACES[index % len(FACES)])), size)


@dataclass(frozen=True)
class Page:
    """A picture of text.

    Attributes:
        pixels: Grey levels 0 to 255 as float32 [height, width].
        boxes: Left, top, right, bottom of each line, from the font's ascent to its descent.
    """

    pixels: NDArray[np.float32]
    boxes: tuple[tuple[int, int, int, int], ...]


def page(height: int, width: int, texts: list[tuple[str, int, int, int]], seed: int) -> Page:
    """Text on paper.

    Args:
        height: Of the picture.
        width: The same.
        texts: Each line with its left and top and the size of its letters; seeds choose fonts.
        seed: Of fonts, paper, ink, blur and noise.
    """
    from PIL import Image, ImageDraw, ImageFilter

    draw_from = np.random.Generator(np.random.Philox(seed))
    image = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(image)
    boxes = []
    for text, left, top, size in texts:
        font = face(int(draw_from.integers(len(FACES))), size)
        pen.text((left, top), text, 255, font=font)
        boxes.append((left, top, left + round(font.getlength(text)), top + sum(font.getmetrics())))
    ink = (
        np.asarray(image.filter(ImageFilter.GaussianBlur(float(draw_from.uniform(0.2, 0.8)))), np.float32)
        / 255
    )
    slope = draw_from.uniform(-25, 25, 2)
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    paper = draw_from.uniform(190, 240) + slope[0] * rows + slope[1] * columns
    noise = draw_from.normal(0, draw_from.uniform(2, 8), (height, width))
    pixels = paper * (1 - ink) + draw_from.uniform(10, 80) * ink + noise
    return Page(np.clip(np.rint(pixels), 0, 255).astype(np.float32), tuple(boxes))
