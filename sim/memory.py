"""L1 and DRAM as flat host arrays, the loader, and tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.elf import Program
from potluck.isa.errors import DataError, ProgramError, TrapError
from potluck.isa.machine import Machine
from potluck.isa.manifest import Tensor
from potluck.sim.code import Code
from potluck.sim.hart import Event
from potluck.sim.image import dram_of
from potluck.sim.linux.pages import EXECUTE, PAGE, PAGE_SHIFT, READ, WRITE, Pages
from potluck.sim.state import HartState


class Memory:
    """The machine's memories with a program loaded, or the address space of a process (``pages``) as it is.

    Raises:
        ProgramError: a section lies outside L1 and DRAM, or there is no code.
    """

    def __init__(self, machine: Machine, program: Program, pages: Pages | None = None) -> None:
        self.layout = machine.memory
        self.program, self.pages = program, pages
        self.l1 = np.zeros(0 if pages else self.layout.l1_bytes, np.uint8)
        base, size = self.layout.dram_base, 0 if pages else self.layout.dram_bytes
        self.dram, filled = dram_of(program, base, size)
        for section in [] if pages else program.sections:
            where = f"section {section.name} at {section.address:#x}"
            there = self.view(section.address, section.end - section.address, where)
            if not (filled and base <= section.address):
                there[: len(section.data)] = np.frombuffer(section.data, np.uint8)
        text = [section for section in program.sections if section.executable]
        if not text:
            raise ProgramError("the program has no executable section")
        self.code = Code([(s.address, bytes(s.data)) for s in text if s.data], machine.isa.vmxdotp_encoding)
        self._protects = not self.code.has_fence_i()
        self._rights = np.zeros(0, np.uint8)
        self.guarded = -1  # address of the page of tohost
        self.first_writable = self._lowest_writable()
        self._write_range = self.first_writable, self.layout.dram_base + self.layout.dram_bytes
        self._guard_tohost()

    def _lowest_writable(self) -> int:
        """Program text at the bottom of DRAM is write-protected, unless the program has a ``fence.i``: without one, a
        store there need never be seen by fetch, so it can only be a mistake.
        """
        base = self.layout.dram_base
        if not self._protects:
            return base
        text = [s for s in self.program.sections if s.executable and not s.writable and s.address >= base]
        end = max((s.end for s in text), default=base)
        lower = [s for s in self.program.sections if s not in text and base <= s.address < end]
        return base if lower else end

    def _guard_tohost(self) -> None:
        """Let a store to the page of ``tohost`` fault, so that it is seen when it happens.

        The larger part of DRAM beside that page stays one range; the rest is checked by pages.
        """
        base, size = self.layout.dram_base, self.layout.dram_bytes
        address = self.program.symbols.get("tohost")
        if self.pages is not None or address is None or not base <= address <= base + size - 8 or base % PAGE:
            return
        page = address & -PAGE
        first, end = self.first_writable, base + size
        self.guarded = page
        low, high = (first, max(first, page)), (page + PAGE, end)
        if page - first < end - high[0]:
            low, high = high, low
        self._write_range = low
        self._rights = np.zeros(size >> PAGE_SHIFT, np.uint8)
        self._rights[(high[0] - base) >> PAGE_SHIFT : (high[1] - base) >> PAGE_SHIFT] = READ | WRITE

    def guards(self, address: int) -> bool:
        """Whether a store that faulted may be one to the page of ``tohost`` (a vector may begin before it)."""
        near = -64 < address - self.guarded < PAGE
        return self.guarded >= 0 and near and address >= self.first_writable

    def open_tohost(self, allow: bool) -> None:
        """Let stores to the page of ``tohost`` through, or no more."""
        self._rights[(self.guarded - self.layout.dram_base) >> PAGE_SHIFT] = READ | WRITE if allow else READ

    def attach(self, state: HartState) -> None:
        """Tell a hart where the memories are."""
        if self.pages is not None:
            for name, value in self.pages.words().items():
                state[name] = value
            return
        first, end = self._write_range
        low = self.layout.dram_base
        if self._rights.size:
            state["page_base"], state["page_bytes"] = low, self.dram.size
            state["page_delta"] = self.dram.ctypes.data - low
            state["page_table"] = self._rights.ctypes.data - (low >> PAGE_SHIFT)
        for name, base, array in (
            ("l1", self.layout.l1_base, self.l1),
            ("dram", self.layout.dram_base, self.dram),
            ("write", first, self.dram[first - low : end - low]),
        ):
            state[f"{name}_base"], state[f"{name}_bytes"] = base, array.size
            state[f"{name}_host"] = array.ctypes.data if array.size else 0

    def find(self, address: int, count: int) -> tuple[str, NDArray[np.uint8], int] | None:
        """The memory that a whole range lies in (``l1``, ``dram`` or ``pages``), its bytes, and where in them."""
        if self.pages is not None:
            allowed = self.pages.allows(address, count, READ)
            return ("pages", self.pages.data, address) if allowed else None
        layout, end = self.layout, address + count
        if layout.l1_base <= address and end <= layout.l1_base + layout.l1_bytes:
            return "l1", self.l1, address - layout.l1_base
        if layout.dram_base <= address and end <= layout.dram_base + layout.dram_bytes:
            return "dram", self.dram, address - layout.dram_base
        return None

    def region(self, address: int, count: int) -> str | None:
        """``l1``, ``dram`` or ``pages`` if the whole range lies inside it."""
        found = self.find(address, count)
        return found[0] if found else None

    def protects(self, address: int) -> bool:
        """Whether a write to an address in DRAM would change program text that stays as it is."""
        return self.pages is None and self.layout.dram_base <= address < self.first_writable

    def executable_span(self, address: int) -> tuple[int, int] | None:
        """The part (begin, end) of the address's page that may be executed; None if it may not. Without an operating
        system that is all of L1 and DRAM, as nothing protects memory there.
        """
        page = address & -PAGE
        if self.pages is not None:
            return (page, page + PAGE) if self.pages.allows(address, 1, EXECUTE) else None
        name = self.region(address, 1)
        if name is None:
            return None
        base, size = (
            (self.layout.l1_base, self.layout.l1_bytes)
            if name == "l1"
            else (self.layout.dram_base, self.layout.dram_bytes)
        )
        return max(page, base), min(page + PAGE, base + size)

    def executable(self, address: int, count: int) -> NDArray[np.uint8] | None:
        """The bytes of a range as they are now; None unless all of it may be executed."""
        if self.pages is not None:
            allowed = self.pages.allows(address, count, EXECUTE)
            return self.pages.data[address : address + count] if allowed else None
        return self.view(address, count) if self.region(address, count) else None

    def view(self, address: int, count: int, what: str = "range") -> NDArray[np.uint8]:
        """Bytes at an address.

        Raises:
            ProgramError: the range is not inside one memory.
        """
        found = self.find(address, count)
        if found is None:
            raise ProgramError(f"{what} ({count} bytes at {address:#x}) is outside {self._extent}")
        _, array, at = found
        return array[at : at + count]

    def writable(self, address: int, count: int) -> NDArray[np.uint8]:
        """Bytes at an address that may be written.

        Raises:
            ProgramError: the range is not inside one memory, or holds program text that stays as it is.
        """
        if self.protects(address):
            raise ProgramError(f"{count} bytes at {address:#x} are to be written into the program's text")
        return self.view(address, count)

    def write_inputs(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Write every input of the program's manifest; a process brings its inputs in itself.

        Raises:
            DataError: an input is missing, unknown, or of the wrong shape.
        """
        known = {} if self.pages else {tensor.name: tensor for tensor in self.program.manifest.inputs}
        for name in inputs:
            if name not in known:
                raise DataError(f"no such input; the program has {sorted(known) or 'none'}", tensor=name)
        for name, tensor in known.items():
            if name not in inputs:
                raise DataError("input is missing", tensor=name)
            self.write_tensor(tensor, np.asarray(inputs[name]))

    def write_tensor(self, tensor: Tensor, value: NDArray[Any]) -> None:
        """Convert to the tensor's type and layout and write it.

        Raises:
            DataError: wrong shape.
        """
        shape = tuple(tensor.shape)
        if value.shape != shape:
            raise DataError(f"shape {value.shape}, the program expects {shape}", tensor=tensor.name)
        data = tensor.encode(value)
        self.view(tensor.address, tensor.bytes, f"input {tensor.name}")[: data.size] = data

    def read_tensor(self, tensor: Tensor) -> NDArray[Any]:
        """A tensor in its logical shape."""
        return tensor.decode(self.view(tensor.address, tensor.held, f"output {tensor.name}").copy())

    def write_signature(self, path: Path) -> None:
        """Write memory between ``begin_signature`` and ``end_signature``, a 32-bit hex word a line.

        Raises:
            ProgramError: a symbol is missing.
        """
        symbols = self.program.symbols
        if not {"begin_signature", "end_signature"} <= symbols.keys():
            raise ProgramError("a signature needs the symbols begin_signature and end_signature")
        begin, end = symbols["begin_signature"], symbols["end_signature"]
        words = self.view(begin, (end - begin) // 4 * 4, "signature").view(np.uint32)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text("".join(f"{word:08x}\n" for word in words))
        temporary.replace(path)

    def tohost(self) -> int:
        """The HTIF exit word; 0 while it is not written or the program has none."""
        address = self.program.symbols.get("tohost")
        if address is None or self.region(address, 8) is None:
            return 0
        return int(self.view(address, 8).view(np.uint64)[0])

    def ended(self) -> bool:
        """Whether the program has written ``tohost``."""
        return self.tohost() != 0

    @property
    def _extent(self) -> str:
        return "L1 and DRAM" if self.pages is None else "the process's memory"

    def fault(self, event: Event) -> TrapError:
        """The trap for an access outside memory or into the text."""
        address = event.address or 0
        store = event.insn.kind.name.endswith("STORE")
        inside = any(base <= address < base + len(data) for base, data in self.code.regions)
        what = "store into the program's text" if store and inside else f"access outside {self._extent}"
        hint = ""
        if store and inside and self.pages is None:
            hint = "A program that changes its code says so by fence.i; its text may then be written."
        return TrapError(f"{what} by {event.insn.mnemonic}", pc=event.pc, address=address, hint=hint)
