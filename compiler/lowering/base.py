"""What every layer plan knows: tensors with layout and storage, constants, and the machine it is for."""

from __future__ import annotations

import abc
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from potluck.compiler.schedule.layer import LoweredOp, Operand, Transfer
from potluck.compiler.schedule.memory import L1, Storage, align
from potluck.isa.errors import MachineError
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.pot.command import COMMAND_BYTES
from potluck.kernels.elementwise_int8 import Affine
from potluck.kernels.program.runtime import L1_BASE, l1_free

if TYPE_CHECKING:
    from potluck.isa.machine import Machine

RECORD_BYTES = 2040
"""Largest record of a tile (`potluck.compiler.codegen.cluster`), so that a 12-bit offset reaches all of it."""
REGISTERS = 8
"""Arguments of a tile that are in registers; where there are more, all are in memory, too."""
RING_BYTES = 4096
"""Below the stacks: two slots for tile records."""
BATCH = 128
"""Commands of an accelerator that are started together at most; two buffers for them are below the records."""
FORMAT_NAMES = {"float32": "FP32", "float16": "FP16", "bfloat16": "BF16"}
"""NumPy types whose formats have other names in the manifest."""
LEAST, CHAINED = 4096, 28672
"""Bytes of a tile at least; and where layers of one tile are chained."""
SLACK = 1024
"""Bytes of L1 that planners leave free, for what alignment loses."""


ZERO, MINUS_INFINITY = "zero", "-inf"


def pattern_word(name: str) -> int:
    """The 32-bit word that a fill pattern repeats: zero, minus infinity, or four times a byte."""
    words = {ZERO: 0, MINUS_INFINITY: 0xFF800000}
    return words[name] if name in words else 0x01010101 * int(name.removeprefix("byte "), 16)


@dataclass(frozen=True)
class Target:
    """The machine as planners see it.

    Attributes:
        machine: Its description.
        fills: DRAM addresses of the patterns that borders are filled from, see `pattern_word`.
        downward: Whether L1 is allocated from the top.
        taken: Bytes of L1 at that end that layers before this one hold.
        workspace: DRAM address of the working memory of a machine without L1 or DMA.
        cores: Cores that compute the layer, 0: all (`potluck.compiler.schedule.abreast`).
        room: Bytes of L1 that the layer may take, 0: all that are left.
        choices: Tiles chosen so far, by what the choice follows from: identical layers are looked at once.
    """

    machine: Machine
    fills: dict[str, int] = field(default_factory=dict)
    downward: bool = False
    workspace: int = 0
    taken: int = 0
    cores: int = 0
    room: int = 0
    choices: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def flat(self) -> bool:
        """Whether the core copies tiles to working memory in DRAM: there is no L1, or no DMA (a custom extension)."""
        return not (self.machine.memory.l1_bytes and self.machine.isa.vmxdotp)

    @property
    def working_key(self) -> str:
        """The machine key that says how large tiles can be."""
        return "memory.workspace_bytes" if self.flat else "memory.l1_bytes"

    @property
    def tile(self) -> int:
        """Channels of a vector of FP32 values, two registers; 0: known at run time, for programs that any VLEN runs."""
        return 0 if self.flat else self.vector

    @property
    def vector(self) -> int:
        """The same, whatever the program is told."""
        return min(32, self.vlen // 16)

    def vectors(self, channels: int) -> list[int]:
        """Lengths of the vectors that so many channels take."""
        whole, rest = divmod(channels, self.vector)
        return [self.vector] * whole + [rest] * (rest > 0)

    @property
    def harts(self) -> int:
        """Cores, each of which computes a share of every tile."""
        return self.cores or int(self.machine.cluster.cores)

    def l1(self) -> L1:
        """An empty L1, or working memory, for a layer."""
        if self.flat:
            return L1(
                self.workspace,
                self.workspace + int(self.machine.memory.workspace_bytes),
                key=self.working_key,
            )
        base, limit = int(self.machine.memory.l1_base), self.command_buffers[0]
        if self.downward:
            limit -= self.taken
            return L1(max(base, limit - self.room) if self.room else base, limit, True)
        base += self.taken
        return L1(base, min(limit, base + self.room) if self.room else limit)

    @property
    def ring(self) -> int:
        """Address of the tile records' two slots."""
        memory = self.machine.memory
        stacks = (
            l1_free(int(self.machine.cluster.cores), int(memory.l1_bytes)) - L1_BASE + int(memory.l1_base)
        )
        return (
            (stacks - RING_BYTES) // RING_BYTES * RING_BYTES
        )  # aligned, so that the slots' addresses differ in one bit

    @property
    def command_buffers(self) -> tuple[int, int]:
        """Addresses of the two buffers for an accelerator's commands; without one they take no room."""
        pot = self.machine.pot
        size = BATCH * COMMAND_BYTES if pot is not None and pot.engine is not None else 0
        return self.ring - 2 * size, self.ring - size

    @property
    def vlen(self) -> int:
        """VLEN in bits."""
        return int(self.machine.vector.vlen)

    @property
    def lanes(self) -> int:
        """64-bit lanes of a core's vector unit."""
        return int(self.machine.vector.lanes)

    @property
    def integer_lanes(self) -> int:
        """Lanes that integer work runs on."""
        return int(self.machine.vector.integer_lanes)

    @property
    def least(self) -> int:
        """Bytes of a tile of a layer that walks through memory, at least, as its overhead shows below that.

        Layers of one tile can be chained (`potluck.compiler.schedule.chains`). An accelerator begins beside tiles, so
        these are smaller there; without L1 a tile should stay in a cache.
        """
        return LEAST if self.flat or self.machine.pot is not None else CHAINED

    @property
    def dma_rate(self) -> float:
        """Bytes per cycle between DRAM and L1."""
        return min(float(self.machine.dma.width_bits) / 8, float(self.machine.dram.bytes_per_cycle))

    @property
    def dma_latency(self) -> int:
        """Cycles from command to first byte."""
        return int(self.machine.dma.setup_cycles + self.machine.dram.latency_cycles)


@dataclass(eq=False)
class Tensor:
    """An activation in memory.

    Attributes:
        name: Of the ONNX value.
        shape: As in ONNX (NCHW).
        storage: Where it lies; shared with its reshaped aliases.
        dtype: NumPy name of the elements' type; unused with ``mx``.
        channels_last: Whether a tensor of four dimensions lies as NHWC; otherwise in the order of its dimensions.
        mx: None for plain elements; otherwise the MX format, with blocks along the channels (images) or the last axis.
        grid: MX format whose values it holds as FP32, on machines without MX products.
        affine: Scale and zero point of 8-bit codes; None if it holds none.
    """

    name: str
    shape: tuple[int, ...]
    storage: Storage
    dtype: str = "float32"
    channels_last: bool = False
    mx: BlockLayout | None = None
    grid: BlockLayout | None = None
    affine: Affine | None = None

    @property
    def item_bytes(self) -> int:
        """Bytes of an element that is not MX."""
        return int(np.dtype(self.dtype).itemsize)

    @property
    def layout(self) -> str:
        """Name of the order in memory."""
        return "NHWC" if self.channels_last else "row"

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Dimensions in the order of memory."""
        if not self.channels_last:
            return self.shape
        n, c, h, w = self.shape
        return n, h, w, c

    @property
    def channels(self) -> int:
        """Length of the innermost axis in memory."""
        return self.stored_shape[-1] if self.shape else 1

    @property
    def pixels(self) -> int:
        """Product of the other axes."""
        return math.prod(self.stored_shape[:-1])

    @property
    def elements(self) -> int:
        """Product of all axes."""
        return math.prod(self.shape)

    @property
    def address(self) -> int:
        """Of the values, or of the codes of an MX tensor."""
        return self.storage.address

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel's values or codes."""
        return pixel_bytes(self.channels, self.mx, self.item_bytes)

    @property
    def scales_address(self) -> int:
        """Of an MX tensor's scales, one byte a block."""
        return self.address + align(self.pixels * self.pixel_bytes)

    @property
    def scales(self) -> int:
        """Scales of one pixel; 0 for FP32."""
        return self.mx.blocks(self.channels) if self.mx is not None else 0

    def operands(self, role: str) -> tuple[Operand, ...]:
        """The parts in DRAM."""
        values = self.pixels * self.pixel_bytes
        if self.mx is None:
            name = FORMAT_NAMES.get(self.dtype, self.dtype.upper())
            return (Operand(role, self.name, name, self.layout, self.stored_shape, self.address, values),)
        outer = self.stored_shape[:-1]
        padded = (*outer, self.pixel_bytes * 8 // self.mx.element.bits)
        element, scales = self.mx.element.name, self.pixels * self.scales
        order = f"{self.layout}{block_word(self.mx.block_size)}"
        return (
            Operand(role, self.name, element, f"{order} codes", padded, self.address, values),
            Operand(
                role,
                self.name,
                "E8M0",
                f"{order} scales",
                (*outer, self.scales),
                self.scales_address,
                scales,
            ),
        )


def block_word(block_size: int) -> str:
    """What a layout says of its blocks, nothing of those of OCP's size (`potluck.sim.dram.tensors`)."""
    return "" if block_size == 32 else f" block{block_size}"


def pixel_bytes(channels: int, mx: BlockLayout | None, item_bytes: int = 4) -> int:
    """Bytes of a pixel in memory: plain elements, or codes padded to whole 64-bit chunks."""
    return item_bytes * channels if mx is None else 8 * -(-channels * mx.element.bits // 64)


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's storage."""
    codes = tensor.pixels * tensor.pixel_bytes
    return codes if tensor.mx is None else align(codes) + tensor.pixels * tensor.scales


@dataclass(eq=False)
class Constant:
    """Bytes that the program carries in its data section.

    Attributes:
        tensor: Name of the ONNX tensor they come from.
        part: What of it: ``codes``, ``scales``, ``values``, ``bias``...
        data: The bytes.
        format: Of the elements, for the manifest.
        layout: Order of the dimensions.
        shape: In that order.
        address: Set when the data section is laid out.
    """

    tensor: str
    part: str
    data: bytes
    format: str
    layout: str
    shape: tuple[int, ...]
    address: int = -1

    def operand(self, role: str) -> Operand:
        """As an operand in DRAM."""
        return Operand(role, self.tensor, self.format, self.layout, self.shape, self.address, len(self.data))


def constant(
    tensor: str, part: str, array: NDArray[np.generic], format: str = "FP32", layout: str = "row"
) -> Constant:
    """An array as a constant."""
    return Constant(tensor, part, np.ascontiguousarray(array).tobytes(), format, layout, array.shape)


Setting = int | str
"""A value in a schedule file."""


@dataclass(frozen=True)
class Choice:
    """One decision of a layer's schedule.

    Attributes:
        value: As taken.
        legal: What it may be.
    """

    value: Setting
    legal: range | tuple[Setting, ...]


class LayerPlan(abc.ABC):
    """An operator with its tensors, before anything has an address."""

    name: str
    op: str

    def choices(self, target: Target) -> dict[str, Choice]:
        """The decisions that a user may take differently, by their names in a schedule file."""
        return {}

    def chosen(self, target: Target, values: Mapping[str, Setting]) -> LayerPlan:
        """The same layer with other values of `choices`; those that are not given stay.

        Raises:
            MachineError: Its buffers do not fit L1.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def reads(self) -> Sequence[Tensor]:
        """Activations read."""

    @abc.abstractmethod
    def writes(self) -> Sequence[Tensor]:
        """Activations written."""

    def constants(self) -> Sequence[Constant]:
        """Constants read."""
        return ()

    def addressed(self) -> Sequence[Constant]:
        """Those of its constants whose bytes are known when it is lowered, as they name addresses."""
        return ()

    def fill_bytes(self) -> dict[str, int]:
        """Bytes needed of each fill pattern."""
        return {}

    @property
    def estimate(self) -> float | None:
        """Cycles that the cost model expects, by which tiles are chosen; None where nothing is chosen by cost."""
        return None

    @abc.abstractmethod
    def lower(self, target: Target) -> LoweredOp:
        """Tiles and transfers; every storage and constant has its address.

        Raises:
            MachineError: No tile fits L1.
        """


Source = Tensor | Constant
"""What a layer reads that may be computed or held."""


class SourcesPlan(LayerPlan):
    """A layer whose inputs are activations or constants alike, with one result.

    Attributes:
        y: Output.
    """

    y: Tensor

    @property
    @abc.abstractmethod
    def sources(self) -> Sequence[Source]:
        """The inputs, in order."""

    def reads(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return [item for item in self.sources if isinstance(item, Tensor)]

    def writes(self) -> Sequence[Tensor]:
        """See `LayerPlan`."""
        return (self.y,)

    def constants(self) -> Sequence[Constant]:
        """See `LayerPlan`."""
        return [item for item in self.sources if isinstance(item, Constant)]


def check_l1(need: int, target: Target) -> None:
    """Refuses buffers that L1, but for `SLACK`, has no room for.

    Raises:
        MachineError: Says how many bytes they need.
    """
    have = target.l1().size - SLACK
    if need > have:
        raise MachineError(
            f"its buffers take {need} bytes, of which there are {have}", key=target.working_key
        )


def source_operands(source: Source, role: str = "input", held: str = "constant") -> tuple[Operand, ...]:
    """A source as operands: of one role as an activation, of another as a constant."""
    return source.operands(role) if isinstance(source, Tensor) else (source.operand(held),)


def border_pattern(x: Tensor) -> str:
    """Name of the pattern that pads an activation: bytes of the zero point, or zero."""
    return ZERO if x.affine is None or not x.affine.zero_point else f"byte {x.affine.zero_point & 0xFF:#04x}"


def share(count: int, harts: int, hart: int) -> tuple[int, int]:
    """(first, number) of the units of a tile that a hart computes; the first harts get the larger shares."""
    each, more = divmod(count, harts)
    return hart * each + min(hart, more), each + (hart < more)


def copy(source: int, destination: int, size: int) -> Transfer:
    """A contiguous transfer."""
    return Transfer(source, destination, size)
