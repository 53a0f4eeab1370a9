"""The assembler that kernels and ``potluck asm`` share: calls or GNU source in, sections and symbols out.

a = Assembler()
a("li", "a0", 3)
a.label("loop")
a("addi", "a0", "a0", -1)
a("bnez", "a0", "loop")
program = a.assemble().program()
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from potluck.isa.assembly import pseudo
from potluck.isa.assembly.compress import compressed
from potluck.isa.assembly.directives import read_source
from potluck.isa.assembly.expressions import Expression, Node, evaluate, parse_expression
from potluck.isa.assembly.layout import Align, Fixup, Jump, SectionSource, Where
from potluck.isa.assembly.link import Object, Place, link_sections
from potluck.isa.elf import Program
from potluck.isa.errors import ProgramError
from potluck.isa.insn import Insn, Kind
from potluck.isa.operands import finish, parse, split_order
from potluck.isa.table import TABLE, table_of

TEXT_BASE = 0x8000_0000
_CACHES: dict[str, dict[tuple[str, tuple[str | int, ...]], bytes]] = {}  # by encoding of VMXDOTP
_CACHE_LIMIT = 1 << 18


class Assembler:
    """Collects instructions and data; see the module text and docs/architecture.md.

    Args:
        encoding: How VMXDOTP is encoded, a machine's ``isa.vmxdotp_encoding``.
    """

    def __init__(self, encoding: str = "spatz") -> None:
        self.encoding = encoding
        self._table = table_of(encoding)
        self._cache = _CACHES.setdefault(encoding, {})
        self._sections: dict[str, SectionSource] = {}
        self._labels: dict[str, Place] = {}
        self._constants: dict[str, int] = {}
        self._numeric: dict[str, int] = {}
        self._fresh = 0
        self._comments: list[tuple[Place, str]] = []
        self._extend: Callable[[bytes], None] | None = None
        self._where: Where | None = None
        self._volatile = False
        self._compress = False
        self._options: list[bool] = []
        self.section(".text")

    # what kernels call --------------------------------------------------------------------------------
    def __call__(self, mnemonic: str, *operands: str | int) -> None:
        """Append an instruction or pseudo-instruction; operands in assembly order, as text or numbers.

        Raises:
            ProgramError: unknown mnemonic or unsuitable operands; says what was expected.
        """
        known = None if self._compress else self._cache.get((mnemonic, operands))
        if known is not None and self._extend is not None:
            self._extend(known)
            return
        try:
            self._instruction(mnemonic, operands)
        except (ValueError, KeyError) as problem:
            raise self._here(mnemonic, operands).error(_message(problem)) from None

    def label(self, name: str) -> None:
        """Define a label here.

        Raises:
            ProgramError: the name is taken.
        """
        if name in self._labels or name in self._constants:
            raise self._here(name + ":", ()).error(f"the symbol {name!r} is already defined")
        self._labels[name] = (self._section, *self._section.here())
        self._extend = self._section.run().data.extend

    def fresh(self, prefix: str = "L") -> str:
        """A label name that nobody else has."""
        self._fresh += 1
        return f".{prefix}.{self._fresh}"

    def comment(self, text: str) -> None:
        """A remark for the listing, at the next instruction."""
        self._comments.append(((self._section, *self._section.here()), text))

    def text(self, source: str) -> None:
        """Append GNU assembly source: instructions, labels and directives.

        Raises:
            ProgramError: names the line.
        """
        read_source(self, source)

    # what directives call -----------------------------------------------------------------------------
    def section(
        self,
        name: str,
        executable: bool | None = None,
        writable: bool | None = None,
        address: int | None = None,
    ) -> None:
        """Continue in a section (``.text.*`` is part of ``.text``); ``address`` puts it somewhere of its own."""
        if name.startswith(".text."):
            name = ".text"
        known = self._sections.get(name)
        if known is None:
            code = name == ".text" if executable is None else executable
            data = not code and not name.startswith(".rodata") if writable is None else writable
            known = self._sections[name] = SectionSource(name, code, data)
        if address is not None:
            known.address = address
        self._section = known
        self._extend = known.run().data.extend

    def equ(self, name: str, value: int | str) -> None:
        """Define a constant from numbers and constants known so far; a ProgramError if the name is a label."""
        if name in self._labels:
            raise self._here(".equ", (name, value)).error(f"the symbol {name!r} is a label")
        self._constants[name] = self.constant(value)

    def constant(self, value: str | int) -> int:
        """An expression that must be known now.

        Raises:
            ValueError: it refers to labels or unknown symbols.
        """
        return evaluate(parse_expression(value, self._local_label), self._constant_symbol)

    def data(self, values: list[str | int] | list[str], size: int) -> None:
        """Append integers of ``size`` bytes; expressions may name symbols."""
        run = self._section.run()
        for text in values:
            where = self._here(".word", (text,))
            value = self.expression(text)
            run.fixups.append(Fixup(len(run.data), {"data": value}, where, None, size))
            run.data.extend(bytes(size))

    def option(self, name: str) -> None:
        """``.option``: ``rvc`` writes instructions of known operands in their compressed form, ``norvc`` ends it.

        ``push`` and ``pop`` save and restore the choice; every other option says nothing here.
        """
        if name in ("rvc", "norvc"):
            self._compress = name == "rvc"
        elif name == "push":
            self._options.append(self._compress)
        elif name == "pop":
            if not self._options:
                raise ValueError(".option pop without .option push")
            self._compress = self._options.pop()

    def floats(self, values: list[str], size: int) -> None:
        """Append FP32 or FP64 numbers."""
        self.bytes(b"".join(struct.pack("<f" if size == 4 else "<d", float(value)) for value in values))

    def bytes(self, data: bytes) -> None:
        """Append bytes as they are."""
        self._section.run().data.extend(data)

    def align(self, count: int, fill: int | None = None) -> None:
        """Pad to a multiple of ``count`` (a power of two) bytes; with nops in code unless ``fill`` is given."""
        if count < 1 or count & (count - 1):
            raise ValueError(f"alignment {count}: expected a power of two")
        if fill is None and not self._section.executable:
            fill = 0
        self._section.items.append(Align(count, fill))
        self._extend = self._section.run().data.extend

    def numeric_label(self, number: str) -> None:
        """Define ``1:``; later ``1b`` refers to it, earlier ``1f`` did."""
        self._numeric[number] = self._numeric.get(number, 0) + 1
        self.label(f".L{number}.{self._numeric[number]}")

    def at(self, line: int, text: str) -> None:
        """The place in the source that messages name from now on; line 0 ends it."""
        self._where = Where(line, text) if line else None

    def expression(self, text: str | int) -> Expression:
        """Parse; ``1f`` and ``1b`` are resolved to labels, constants defined so far to numbers."""
        value = parse_expression(text, self._local_label)
        if isinstance(value, Node):
            self._volatile = True  # what the text means depends on the place
            with suppress(ValueError):
                return evaluate(value, self._constant_symbol)
        return value

    # inside -------------------------------------------------------------------------------------------
    def _local_label(self, text: str) -> str:
        number = self._numeric.get(text[:-1], 0)
        if text[-1] == "b" and not number:
            raise ValueError(f"{text}: there is no label {text[:-1]}: before this line")
        return f".L{text[:-1]}.{number + (text[-1] == 'f')}"

    def _here(self, mnemonic: str, operands: tuple[str | int, ...]) -> Where:
        return self._where or Where(0, f"{mnemonic} {', '.join(map(str, operands))}".strip())

    def _constant_symbol(self, name: str) -> int:
        if name not in self._constants:
            raise ValueError(
                f"{name!r} is not known here: expected a constant (for a label's address use la)"
            )
        return self._constants[name]

    def _instruction(self, mnemonic: str, operands: tuple[str | int, ...]) -> None:
        run = self._section.run()
        self._extend = run.data.extend
        fixups, items, start = len(run.fixups), len(self._section.items), len(run.data)
        self._volatile = False
        mnemonic_ = mnemonic.lower()
        if mnemonic_ in pseudo.SPECIAL:
            getattr(self, "_" + mnemonic_)(*_counted(mnemonic_, operands))
        else:
            for name, filled in pseudo.expand(mnemonic_, operands):
                self._one(name, filled)
        same = len(self._section.items) == items and len(run.fixups) == fixups
        if same and not self._volatile and not self._compress and len(self._cache) < _CACHE_LIMIT:
            self._cache[mnemonic, operands] = bytes(run.data[start:])

    def _one(self, mnemonic: str, operands: tuple[str | int, ...]) -> None:
        bare, order = split_order(mnemonic)
        insn = self._table.get(bare)
        if insn is None and bare in TABLE:
            raise ValueError(
                f"a machine with isa.vmxdotp_encoding = {self.encoding!r} has no {mnemonic}: VMXDOTP takes its opcode"
            )
        if insn is None or (order and insn.kind is not Kind.ATOMIC):
            raise ValueError(_unknown(mnemonic))
        values = parse(insn, operands, self.expression) | order
        where = self._here(mnemonic, operands)
        run = self._section.run()
        if not any(isinstance(value, Node) for value in values.values()):
            values = finish(insn, values)  # type: ignore[assignment, arg-type]
            if self._compress:
                insn, values = compressed(insn, values)  # type: ignore[arg-type, assignment]
            word = insn.encode(values)  # type: ignore[arg-type]
            if any(TABLE[other].matches(word) for other in insn.attributes.get("carved", ())):
                raise ValueError(f"{mnemonic} with these operands is another instruction")
            run.data.extend(word.to_bytes(insn.length, "little"))
        elif insn.kind in (Kind.BRANCH, Kind.JUMP) and isinstance(values.get("off"), Node):
            self._jump(insn, values, where)
        else:
            if "off" in values:  # a compressed jump has one length, so it is no item of its own
                values["off"] = Node("-", (values["off"], Node("symbol", name=".")))
            run.fixups.append(Fixup(len(run.data), values, where, insn))
            run.data.extend(bytes(insn.length))

    def _jump(self, insn: Insn, values: dict[str, Expression], where: Where, far: str = "") -> None:
        self._section.items.append(Jump(insn, values, where, far))
        self._extend = self._section.run().data.extend

    def _li(self, register: str | int, value: str | int) -> None:
        number = evaluate(self.expression(value), self._constant_symbol)
        for name, filled in pseudo.load_immediate(register, number):
            self._one(name, filled)

    def _la(self, register: str | int, target: str | int) -> None:
        address = self.expression(target)
        number = parse(TABLE["lui"], (register, 0), self.expression)["rd"]
        where = self._here("la", (register, target))
        here = Node("symbol", name=".")
        run = self._section.run()
        upper = {"rd": number, "imm": Node("pcrel_hi", (address,))}
        distance = Node("+", (Node("-", (address, here)), 4))
        lower = {"rd": number, "rs1": number, "imm": Node("lo", (distance,))}
        for name, values in (("auipc", upper), ("addi", lower)):
            run.fixups.append(Fixup(len(run.data), values, where, TABLE[name]))
            run.data.extend(bytes(4))

    _lla = _la

    def _call(self, target: str | int, name: str = "call", link: int = 1, scratch: str = "1") -> None:
        values: dict[str, Expression] = {"rd": link, "off": self.expression(target)}
        self._jump(TABLE["jal"], values, self._here(name, (target,)), scratch)

    def _tail(self, target: str | int) -> None:
        self._call(target, "tail", 0, "6")

    # the end ------------------------------------------------------------------------------------------
    def assemble(self, text_base: int = TEXT_BASE, data_base: int | None = None) -> Object:
        """Find addresses, relax jumps, resolve symbols.

        Args:
            text_base: address of ``.text``.
            data_base: where the other sections begin; default: after the text.

        Raises:
            ProgramError: an undefined symbol, a value that does not fit.
        """
        sections = list(self._sections.values())
        return link_sections(sections, self._labels, self._constants, self._comments, text_base, data_base)


def _counted(mnemonic: str, operands: tuple[str | int, ...]) -> tuple[str | int, ...]:
    count = 1 if mnemonic in ("call", "tail") else 2
    if len(operands) != count:
        raise ValueError(f"{len(operands)} operands: expected {count}")
    return operands


def _unknown(mnemonic: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(mnemonic, pseudo.names(), 3)
    return f"no instruction {mnemonic!r}" + (f"; near: {', '.join(near)}" if near else "")


def _message(problem: Exception) -> str:
    return str(problem.args[0]) if problem.args else str(problem)


def assemble_file(path: str | Path, encoding: str = "spatz") -> Program:
    """Assemble a source file to a program; ``encoding`` is a machine's ``isa.vmxdotp_encoding``.

    Raises:
        ProgramError: an error in the source; names file and line.
    """
    path = Path(path)
    a = Assembler(encoding)
    try:
        a.text(path.read_text())
        return a.assemble().program()
    except OSError as problem:
        raise ProgramError(f"cannot read {path}: {problem.strerror}") from None
    except ProgramError as problem:
        raise ProgramError(f"{path}: {problem.message}", hint=problem.hint) from None
