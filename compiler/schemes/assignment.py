"""Mixed precision: which layer has which scheme, as a file.

    {"default": "int8", "layers": {"conv1": "mxfp8", "fc.weight": "int4"}}

Layers are products (Conv, Gemm, MatMul) by the name of their node or of their weights; the others have ``default``.
What is assigned by name is made as assigned: the rules by which schemes spare small and depthwise layers
(``min_channels``) hold for ``default`` only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from potluck.isa.documents import json_of
from potluck.isa.errors import ModelError


@dataclass(frozen=True)
class Assignment:
    """A scheme for every layer.

    Attributes:
        layers: Node or weight name -> scheme.
        default: Scheme of every other product.
        lenient: Leave a layer in FP32 where its scheme cannot take it, instead of raising an error.
    """

    layers: Mapping[str, str] = field(default_factory=dict, hash=False)
    default: str = "fp32"
    lenient: bool = field(default=False, compare=False)

    @property
    def schemes(self) -> tuple[str, ...]:
        """Every scheme in it, the default first."""
        return tuple(dict.fromkeys((self.default, *self.layers.values())))

    def to_json(self) -> dict[str, Any]:
        """As `parse` reads it."""
        return {"default": self.default, "layers": dict(self.layers)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file, all of it or nothing."""
        target = Path(path)
        draft = target.with_name(target.name + ".part")
        draft.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")
        draft.replace(target)


def parse(data: Any) -> Assignment:
    """An assignment from plain JSON values; what else a file says (``report``...) is left alone.

    Raises:
        ModelError: It is no mapping of names to names.
    """
    if not isinstance(data, dict) or not isinstance(data.get("layers", {}), dict):
        raise ModelError(
            "an assignment is an object with 'layers' and 'default'", hint='{"layers": {"conv1": "int4"}}'
        )
    layers, default = data.get("layers", {}), data.get("default", "fp32")
    wrong = [name for name, scheme in layers.items() if not isinstance(scheme, str)]
    if wrong or not isinstance(default, str):
        raise ModelError(f"the scheme of {wrong[0]!r} is not a name" if wrong else "'default' is not a name")
    if not layers and "default" not in data:
        raise ModelError("the assignment names no layer and no default", hint='{"layers": {"conv1": "int4"}}')
    return Assignment(layers, default)


def load(path: str | os.PathLike[str]) -> Assignment:
    """Reads an assignment's file.

    Raises:
        ModelError: It cannot be read or is no assignment; names the file.
    """
    try:
        return parse(json_of(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the assignment {str(path)!r}: {error}") from None
    except ModelError as error:
        raise ModelError(f"{str(path)!r}: {error.message}", hint=error.hint) from None
