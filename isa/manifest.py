"""What a program says of itself: tensors, layers and buffers, as JSON in section ``.potluck.manifest``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from potluck.isa.documents import json_of
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

    @property
    def held(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * int(np.dtype(self.dtype).itemsize)

    def encode(self, value: NDArray[Any]) -> NDArray[np.uint8]:
        """An array of the logical shape as the bytes that lie in memory."""
        stored = value.astype(self.dtype)
        stored = stored.transpose(_ORDER[self.layout]) if self.layout in _ORDER else stored
        return np.ascontiguousarray(stored).reshape(-1).view(np.uint8)

    def decode(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        """The array of the logical shape that lies in memory as these bytes."""
        order = _ORDER.get(self.layout, tuple(range(len(self.shape))))
        stored = raw.view(self.dtype).reshape([self.shape[axis] for axis in order])
        return stored.transpose(np.argsort(order)) if self.layout in _ORDER else stored


_ORDER = {"NHWC": (0, 2, 3, 1)}


@dataclass(frozen=True)
class HostNode:
    """A node that the machine cannot compute and leaves to its host (:mod:`potluck.isa.host`).

    Attributes:
        name: of the node.
        op: its operator, with the domain if that is not ONNX's.
        reason: why the machine does not compute it.
        model: an ONNX model of this node alone, with its constants, as base64.
        inputs: of the model, in its order.
        outputs: of the model, in its order.
    """

    name: str
    op: str
    reason: str
    model: str
    inputs: list[Tensor]
    outputs: list[Tensor]


ABREAST = " | "
"""Between the names, and between the operators, of layers that run side by side as one."""


def members(name: str) -> list[str]:
    """The names of the layers that a layer of a program is made of."""
    return name.split(ABREAST)


@dataclass(frozen=True)
class Layer:
    """A layer's code: pc range ``[start, end)``, multiply-accumulates of one run, element format.

    Several that run side by side are one, with all their names (`members`).
    """

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
    """All of it; see docs/architecture.md.

    Attributes:
        nodes: of the network as it was compiled, 0 if that is not known.
        host: nodes that the host computes; a host call names one by its index.
        memory: bytes by name: ``l1_peak``, ``dram_activations`` and what they are compared with (docs/schedule.md).
    """

    version: int = VERSION
    machine: str = "spatz-mx"
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    nodes: int = 0
    host: list[HostNode] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)

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
            raw = json_of(text)
        except ValueError as problem:
            raise ProgramError(f"the manifest is not JSON: {problem}") from None
        if not isinstance(raw, dict):
            raise ProgramError("the manifest is not a JSON object")
        if raw.get("version") != VERSION:
            raise ProgramError(f"manifest version {raw.get('version')!r}, this Potluck reads {VERSION}")
        manifest = _read(Manifest, _read_lists(raw, ""), "")
        _check(manifest)
        return manifest


Record = TypeVar("Record")
_LISTS: dict[str, type] = {
    "inputs": Tensor, "outputs": Tensor, "layers": Layer, "buffers": Buffer, "host": HostNode,
}  # fmt: skip


def _read_lists(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """An object with its lists of records read."""
    values = dict(raw)
    for key, kind in _LISTS.items():
        if key not in raw:
            continue
        if not isinstance(raw[key], list):
            raise ProgramError(f"manifest key {where}{key} is not a list")
        values[key] = []
        for index, item in enumerate(raw[key]):
            place = f"{where}{key}[{index}]"
            whole = _read_lists(item, f"{place}.") if kind is HostNode and isinstance(item, dict) else item
            values[key].append(_read(kind, whole, place))
    return values


_TYPES: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "list[int]": list,
    "dict[str, int]": dict,
}


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

    owners: list[tuple[str, Manifest | HostNode]] = [("", manifest)]
    owners += [(f"host[{index}].", node) for index, node in enumerate(manifest.host)]
    for prefix, owner in owners:
        for where, tensor in _named(owner, prefix):
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
    require(0 <= manifest.nodes < LARGEST, "nodes", manifest.nodes)
    for name, size in manifest.memory.items():
        require(type(size) is int and 0 <= size < LARGEST, f"memory.{name}", size)


def _named(owner: Manifest | HostNode, prefix: str) -> list[tuple[str, Tensor]]:
    """Inputs and outputs with their keys."""
    found = [(f"{prefix}inputs[{index}]", tensor) for index, tensor in enumerate(owner.inputs)]
    return found + [(f"{prefix}outputs[{index}]", tensor) for index, tensor in enumerate(owner.outputs)]
