"""The one error tree: every error Potluck raises on purpose is a `PotluckError`.

An error names the thing at fault (node, key, file, pc, tensor) as attributes and in its text, and says in
`hint` what to do next. `except PotluckError` therefore separates a user's mistake from a defect of Potluck.
"""

from __future__ import annotations

from typing import ClassVar


def _show(name: str, value: object) -> str:
    """Addresses read best in hexadecimal, everything else as it is."""
    if name in ("pc", "address") and isinstance(value, int):
        return f"{name} {value:#x}"
    return f"{name} {value!r}"


class PotluckError(Exception):
    """Base of the tree.

    Args:
        message: What is wrong, in one sentence without a full stop.
        hint: The next step for the user, in one sentence; empty if the message already says it.

    Attributes:
        message: As given.
        hint: As given.
        fields: Names of the attributes that locate the error, in the order in which the text shows them.
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def where(self) -> str:
        """The located thing as text, e.g. ``node 'conv1'``; empty when nothing is known."""
        known = ((name, getattr(self, name)) for name in self.fields)
        return ", ".join(_show(name, value) for name, value in known if value is not None)

    def __str__(self) -> str:
        where = self.where()
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}. {self.hint}" if self.hint else text

    def __reduce__(self) -> tuple[object, ...]:
        # Campaign workers send errors between processes: keyword-only arguments need the state, not `args`.
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(kind: type[PotluckError], message: str, state: dict[str, object]) -> PotluckError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


class ModelError(PotluckError):
    """A network that cannot be read, quantized or compiled; `node` is the ONNX node's name."""

    fields = ("node",)

    def __init__(self, message: str, *, node: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.node = node


class MachineError(PotluckError):
    """A machine description that is wrong; `key` is the dotted TOML key, e.g. ``vector.vlen``."""

    fields = ("key",)

    def __init__(self, message: str, *, key: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key


class ProgramError(PotluckError):
    """A malformed program (source, ELF or manifest); `elf` is its path, `pc` an instruction's address."""

    fields = ("elf", "pc")

    def __init__(
        self, message: str, *, elf: str | None = None, pc: int | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.elf = elf
        self.pc = pc


class EndlessError(ProgramError):
    """A program that does not come to its end: its budget of instructions is used up, or nothing runs any more."""


class ExitError(ProgramError):
    """A program that ran to its end and gave an exit status other than 0.

    Attributes:
        status: The exit status.
        result: What the run cost (`potluck.sim.Result`), without outputs; None if nobody summed it up.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the program exited with code {status}")
        self.status = status
        self.result: object = None


class TrapError(PotluckError):
    """A running program that the machine stopped.

    Attributes:
        pc: Address of the instruction that trapped.
        symbol: Nearest symbol at or before `pc`, with the distance: ``main+0x1c``.
        layer: Layer of the network that owns `pc`, from the manifest.
        address: Memory address of the access that failed, None if the trap is not an access.
    """

    fields = ("pc", "symbol", "layer", "address")

    def __init__(
        self,
        message: str,
        *,
        pc: int | None = None,
        symbol: str | None = None,
        layer: str | None = None,
        address: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.pc = pc
        self.symbol = symbol
        self.layer = layer
        self.address = address


class DataError(PotluckError):
    """Input or output data that do not fit; `tensor` is the tensor's name."""

    fields = ("tensor",)

    def __init__(self, message: str, *, tensor: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.tensor = tensor


class CampaignError(PotluckError):
    """A fault campaign's specification that is wrong; `key` is the dotted key in the spec file."""

    fields = ("key",)

    def __init__(self, message: str, *, key: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.key = key


class ToolError(PotluckError):
    """An external program or optional package that is missing, too old or broken; `tool` is its name."""

    fields = ("tool",)

    def __init__(self, message: str, *, tool: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.tool = tool


class RtlError(PotluckError):
    """A hardware unit that is not declared, does not build or fails its bench.

    Attributes:
        unit: name in ``rtl/units.toml``.
        log: the end of the failing tool's output.
    """

    fields = ("unit",)

    def __init__(self, message: str, *, unit: str | None = None, log: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.unit = unit
        self.log = log

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.log}" if self.log else super().__str__()
