"""What a program says of itself: tensors, layers and buffers, as JSON in section ``.potluck.manifest``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from potluck.isa.errors import ProgramError

SECTION = ".potluck.manifest"
MOST_AXES = 32
LARGEST = 1 << 63  # of any number: what an int64 holds
VERSION = 1


@dataclass(frozen=True)
class Tensor:
    """An input or output in memory.

    Attributes:
        name: the network's name for it.
        dtype: NumPy's name of the type.
        shape: logical shape.
        layout: order in memory, ``NHWC`` (of a logical NCHW tensor) or ``row``.
        address: of its first byte.
        bytes: that it occupies.
    """

    name: str
    dtype: str
    shape: list[int]
    layout: str
    address: int
    bytes: int


@dataclass(frozen=True)
class Layer:
    """A layer's code: pc range ``[start, end)``, multiply-accumulates of one run, element format."""

    name: str
    op: str
    start: int
    end: int
    macs: int = 0
    format: str = ""


@dataclass(frozen=True)
class Buffer:
    """A range of memory with its tensor, number format and block layout; ``region`` is ``dram`` or ``l1``."""

    name: str
    tensor: str
    address: int
    bytes: int
    format: str
    shape: list[int]
    layout: str
    region: str = "dram"


@dataclass(frozen=True)
class Manifest:
    """All of it; see docs/architecture.md."""

    version: int = VERSION
    machine: str = "spatz-mx"
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """Read and check JSON text.

        Raises:
            ProgramError: not JSON, an unknown version, an unknown or missing key; names the key.
        """
        try:
            raw = json.loads(text)
        except ValueError as problem:
            raise ProgramError(f"the manifest is not JSON: {problem}") from None
        if not isinstance(raw, dict):
            raise ProgramError("the manifest is not a JSON object")
        if raw.get("version") != VERSION:
            raise ProgramError(f"manifest version {raw.get('version')!r}, this Potluck reads {VERSION}")
        lists: dict[str, type[Tensor] | type[Layer] | type[Buffer]] = {
            "inputs": Tensor, "outputs": Tensor, "layers": Layer, "buffers": Buffer,
        }  # fmt: skip
        values: dict[str, Any] = dict(raw)
        for key, kind in lists.items():
            items = values.get(key, [])
            if not isinstance(items, list):
                raise ProgramError(f"manifest key {key} is not a list")
            values[key] = [_read(kind, item, f"{key}[{index}]") for index, item in enumerate(items)]
        manifest = _read(Manifest, values, "")
        _check(manifest)
        return manifest


Record = TypeVar("Record")
_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "list[int]": list}


def _read(kind: type[Record], raw: Any, where: str) -> Record:
    if not isinstance(raw, dict):
        raise ProgramError(f"manifest key {where} is not an object")
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    prefix = where + "." if where else ""
    for key in raw:
        if key not in known:
            raise ProgramError(f"unknown manifest key {prefix}{key}; known are {', '.join(known)}")
    for name, item in known.items():
        if name in raw:
            expected = _TYPES.get(str(item.type))
            good = expected is None or (isinstance(raw[name], expected) and not isinstance(raw[name], bool))
            if good and item.type == "list[int]":
                good = all(isinstance(n, int) and not isinstance(n, bool) for n in raw[name])
            if not good:
                raise ProgramError(f"manifest key {prefix}{name} is {raw[name]!r}, expected {item.type}")
    try:
        return kind(**raw)
    except TypeError as problem:
        raise ProgramError(f"manifest {where or 'key'}: {problem}") from None


def _check(manifest: Manifest) -> None:
    """Whether numbers and types are such as a machine and NumPy can have.

    Raises:
        ProgramError: names the key.
    """

    def require(good: bool, key: str, value: object) -> None:
        if not good:
            raise ProgramError(f"manifest key {key} is {value!r}, which cannot be")

    for kind in ("inputs", "outputs"):
        for index, tensor in enumerate(getattr(manifest, kind)):
            where = f"{kind}[{index}]"
            try:
                item = np.dtype(tensor.dtype)
            except (TypeError, ValueError):
                item = np.dtype(object)
            require(item.kind in "biuf", f"{where}.dtype", tensor.dtype)
            sizes = len(tensor.shape) <= MOST_AXES and all(0 <= n < LARGEST for n in tensor.shape)
            held = math.prod(tensor.shape) * item.itemsize if sizes else -1
            require(0 <= held < LARGEST, f"{where}.shape", tensor.shape)
            axes = len(tensor.shape) == 4 if tensor.layout == "NHWC" else tensor.layout == "row"
            require(axes, f"{where}.layout", tensor.layout)
            require(held <= tensor.bytes < LARGEST, f"{where}.bytes", tensor.bytes)
            require(0 <= tensor.address < LARGEST, f"{where}.address", tensor.address)
    for index, layer in enumerate(manifest.layers):
        require(0 <= layer.start <= layer.end < LARGEST, f"layers[{index}].start", layer.start)
        require(0 <= layer.macs < LARGEST, f"layers[{index}].macs", layer.macs)
