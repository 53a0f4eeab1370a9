"""LSTM, GRU and RNN: the products with the inputs of all steps at once, then the steps one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from potluck.compiler.bodies import body, ints, number, scalar
from potluck.compiler.graph.nodes import constant, integer, real, shape_of, text

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Operator -> gates, whose weights lie one behind the other."""
FUNCTIONS = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
"""Operator -> activations of a direction that names none."""
PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "Affine": (1.0, 0.0), "LeakyRelu": (0.01, None), "ThresholdedRelu": (1.0, None), "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5), "Elu": (1.0, None),
}  # fmt: skip
"""Activation -> defaults of alpha and beta (onnxruntime's where ONNX states none); None if it has none."""
PLAIN = {name.lower(): name for name in ("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus")}
PARAMETRIC = {name.lower(): name for name in PARAMETERS}


@dataclass(frozen=True)
class Activation:
    """One activation with its parameters."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def text(self, y: str, x: str) -> str:
        """Statements: y = f(x)."""
        if self.name in PLAIN.values():
            return f"{y} = {self.name} ({x})"
        if self.name == "Affine":
            factor, offset = number(self.alpha or 0.0), number(self.beta or 0.0)
            return f"scaled_{y} = Mul ({x}, {factor})\n{y} = Add (scaled_{y}, {offset})"
        if self.name == "ScaledTanh":
            return (
                f"inner_{y} = Mul ({x}, {number(self.beta or 0.0)})\nouter_{y} = Tanh (inner_{y})\n"
                f"{y} = Mul (outer_{y}, {number(self.alpha or 0.0)})"
            )
        parameters = {"alpha": self.alpha, "beta": self.beta}
        shown = ", ".join(f"{key} = {value!r}" for key, value in parameters.items() if value is not None)
        return f"{y} = {self.name} <{shown}> ({x})"


def _activations(node: ir.Node, directions: int) -> list[list[Activation]] | None:
    """Of each direction; alphas and betas go to those that have them, in order."""
    defaults = FUNCTIONS[node.op_type]
    attribute = node.attributes.get("activations")
    names = [str(name) for name in attribute.as_strings()] if attribute else list(defaults * directions)
    if len(names) != len(defaults) * directions:
        return None
    alphas, betas = (_reals(node, f"activation_{name}") for name in ("alpha", "beta"))
    made = []
    for name in names:
        if name.lower() in PLAIN:
            made.append(Activation(PLAIN[name.lower()]))
            continue
        if name.lower() not in PARAMETRIC:
            return None
        full = PARAMETRIC[name.lower()]
        alpha, beta = PARAMETERS[full]
        made.append(
            Activation(
                full,
                None if alpha is None else next(alphas, alpha),
                None if beta is None else next(betas, beta),
            )
        )
    return [made[i * len(defaults) : (i + 1) * len(defaults)] for i in range(directions)]


def _reals(node: ir.Node, name: str) -> Iterator[float]:
    attribute = node.attributes.get(name)
    return iter(attribute.as_floats() if attribute else ())


class Direction:
    """The statements of one direction; names end in its number.

    Args:
        node: The operator.
        index: Direction's number in weights and outputs.
        backwards: Whether the last step comes first.
        functions: Activations f, g, h.
        sizes: Steps, images of a batch, hidden elements.
        masked: Whether sequences have lengths of their own.
    """

    def __init__(
        self, node: ir.Node, index: int, backwards: bool, functions: list[Activation],
        sizes: tuple[int, int, int], masked: bool,
    ) -> None:  # fmt: skip
        self.node, self.d, self.backwards, self.functions, self.masked = (
            node, index, backwards, functions, masked,
        )  # fmt: skip
        self.steps, self.batch, self.hidden = sizes
        self.gates = GATES[node.op_type]
        self.lines: list[str] = []
        self.clip = real(node, "clip", 0.0)

    def add(self, *lines: str) -> None:
        """Appends statements."""
        self.lines += lines

    def given(self, index: int) -> bool:
        """Whether the node has an input."""
        return len(self.node.inputs) > index and self.node.inputs[index] is not None

    def part(self, name: str, source: str) -> str:
        """What an operand holds for this direction."""
        name = f"{name}{self.d}"
        self.add(
            f"cut_{name} = Slice ({source}, {ints(self.d)}, {ints(self.d + 1)}, {ints(0)})",
            f"{name} = Squeeze (cut_{name}, {ints(0)})",
        )
        return name

    def split(self, source: str, names: list[str], axis: int = -1) -> None:
        """Equal parts along an axis."""
        if len(names) == 1:
            self.add(f"{names[0]} = Identity ({source})")
        else:
            self.add(f"{', '.join(names)} = Split <axis = {axis}, num_outputs = {len(names)}> ({source})")

    def initial(self, name: str, index: int) -> str:
        """An initial state, zero if it is not given."""
        if self.given(index):
            source = f"x{index}"
            if integer(self.node, "layout", 0):
                source = f"turned_{name}{self.d}"
                self.add(f"{source} = Transpose <perm = [1, 0, 2]> (x{index})")
            return self.part(name, source)
        made = f"{name}{self.d}"
        self.add(
            f"zero_{made} = Cast <to = {int(ir.DataType.FLOAT)}> ({ints(0)})",
            f"{made} = Expand (zero_{made}, {ints(self.batch, self.hidden)})",
        )
        return made

    def clipped(self, name: str) -> str:
        """A gate's sum within the threshold."""
        if not self.clip:
            return name
        self.add(f"near_{name} = Clip ({name}, {number(-self.clip)}, {number(self.clip)})")
        return f"near_{name}"

    def gate(self, y: str, function: int, x: str) -> None:
        """One activation."""
        self.add(self.functions[function].text(y, self.clipped(x)))

    def run(self) -> tuple[list[str], str, str]:
        """Adds all statements; names of every step's result, of the last one's, and of the last cell."""
        kind = self.node.op_type
        weight, recurrent = self.part("weight", "x1"), self.part("recurrent", "x2")
        d = self.d
        self.add(
            f"input{d} = Transpose <perm = [1, 0]> ({weight})", f"products{d} = MatMul (sequence, input{d})"
        )
        inputs = f"products{d}"
        # GRU with linear_before_reset multiplies the recurrent bias of its last gate by the reset gate.
        late = kind == "GRU" and bool(integer(self.node, "linear_before_reset", 0))
        if self.given(3):
            both, size = self.part("bias", "x3"), self.gates * self.hidden
            self.add(f"bias_w{d}, bias_r{d} = Split <axis = 0, num_outputs = 2> ({both})")
            if late:
                kept = 2 * self.hidden
                self.add(
                    f"early{d} = Slice (bias_r{d}, {ints(0)}, {ints(kept)}, {ints(0)})",
                    f"late{d} = Slice (bias_r{d}, {ints(kept)}, {ints(size)}, {ints(0)})",
                    f"early_r{d} = Pad (early{d}, {ints(0, self.hidden)})",
                    f"biases{d} = Add (bias_w{d}, early_r{d})",
                )
            else:
                self.add(f"biases{d} = Add (bias_w{d}, bias_r{d})")
            self.add(f"biased{d} = Add ({inputs}, biases{d})")
            inputs = f"biased{d}"
        if self.steps > 1:
            self.add(
                f"{', '.join(f'step{d}_{t}' for t in range(self.steps))} = "
                f"Split <axis = 0, num_outputs = {self.steps}> ({inputs})"
            )
        else:
            self.add(f"step{d}_0 = Identity ({inputs})")
        prepare = {"LSTM": self._lstm_weights, "GRU": self._gru_weights, "RNN": self._rnn_weights}[kind]
        prepare(recurrent)
        step: Callable[[str, str, str, str], tuple[str, str]]
        step = {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[kind]
        hidden, cell = self.initial("hidden", 5), ""
        if kind == "LSTM":
            cell = self.initial("cell", 6)
            if self.given(7):
                self.split(self.part("peephole", "x7"), [f"peep_{gate}{d}" for gate in "iof"], axis=0)
        results = [""] * self.steps
        for t in reversed(range(self.steps)) if self.backwards else range(self.steps):
            tag = f"{d}_{t}"
            self.add(f"now{tag} = Squeeze (step{tag}, {ints(0)})")
            new, new_cell = step(tag, f"now{tag}", hidden, cell)
            if self.masked:
                self.add(
                    f"shown{tag} = Where (within{t}, {new}, {number(0.0)})",
                    f"kept{tag} = Where (within{t}, {new}, {hidden})",
                )
                if cell:
                    self.add(f"kept_cell{tag} = Where (within{t}, {new_cell}, {cell})")
                results[t], hidden, cell = f"shown{tag}", f"kept{tag}", f"kept_cell{tag}" if cell else ""
            else:
                results[t], hidden, cell = new, new, new_cell
        return results, hidden, cell

    # LSTM: gates i, o, f, c

    def _lstm_weights(self, recurrent: str) -> None:
        self.add(f"turn{self.d} = Transpose <perm = [1, 0]> ({recurrent})")

    def _lstm(self, tag: str, now: str, hidden: str, cell: str) -> tuple[str, str]:
        d, peepholes = self.d, self.given(7)
        self.add(f"back{tag} = MatMul ({hidden}, turn{d})", f"sum{tag} = Add ({now}, back{tag})")
        gates = {gate: f"{gate}{tag}" for gate in "iofc"}
        self.split(f"sum{tag}", list(gates.values()))
        if peepholes:
            for gate in "if":
                self.add(f"look_{gate}{tag} = Mul (peep_{gate}{d}, {cell})",
                         f"{gate}p{tag} = Add ({gates[gate]}, look_{gate}{tag})")  # fmt: skip
                gates[gate] = f"{gate}p{tag}"
        self.gate(f"in{tag}", 0, gates["i"])
        if integer(self.node, "input_forget", 0):
            self.add(f"forget{tag} = Sub ({number(1.0)}, in{tag})")
        else:
            self.gate(f"forget{tag}", 0, gates["f"])
        self.gate(f"fresh{tag}", 1, gates["c"])
        self.add(
            f"old{tag} = Mul (forget{tag}, {cell})", f"new{tag} = Mul (in{tag}, fresh{tag})",
            f"cell{tag} = Add (old{tag}, new{tag})",
        )  # fmt: skip
        if peepholes:
            self.add(
                f"look_o{tag} = Mul (peep_o{d}, cell{tag})", f"op{tag} = Add ({gates['o']}, look_o{tag})"
            )
            gates["o"] = f"op{tag}"
        self.gate(f"out{tag}", 0, gates["o"])
        self.add(self.functions[2].text(f"shape{tag}", f"cell{tag}"))
        self.add(f"hidden{tag} = Mul (out{tag}, shape{tag})")
        return f"hidden{tag}", f"cell{tag}"

    # GRU: gates z, r, h

    def _gru_weights(self, recurrent: str) -> None:
        d, size = self.d, self.hidden
        self.add(
            f"first{d} = Slice ({recurrent}, {ints(0)}, {ints(2 * size)}, {ints(0)})",
            f"last{d} = Slice ({recurrent}, {ints(2 * size)}, {ints(3 * size)}, {ints(0)})",
            f"turn{d} = Transpose <perm = [1, 0]> (first{d})", f"turn_h{d} = Transpose <perm = [1, 0]> (last{d})",
        )  # fmt: skip

    def _gru(self, tag: str, now: str, hidden: str, cell: str) -> tuple[str, str]:
        d = self.d
        self.split(now, [f"z{tag}", f"r{tag}", f"h{tag}"])
        self.add(f"back{tag} = MatMul ({hidden}, turn{d})")
        self.split(f"back{tag}", [f"back_z{tag}", f"back_r{tag}"])
        for gate in "zr":
            self.add(f"sum_{gate}{tag} = Add ({gate}{tag}, back_{gate}{tag})")
            self.gate(f"gate_{gate}{tag}", 0, f"sum_{gate}{tag}")
        if integer(self.node, "linear_before_reset", 0):
            self.add(f"back_h{tag} = MatMul ({hidden}, turn_h{d})")
            source = f"back_h{tag}"
            if self.given(3):
                self.add(f"moved_h{tag} = Add ({source}, late{d})")
                source = f"moved_h{tag}"
            self.add(f"reset{tag} = Mul (gate_r{tag}, {source})", f"sum_h{tag} = Add (h{tag}, reset{tag})")
        else:
            self.add(
                f"reset{tag} = Mul (gate_r{tag}, {hidden})", f"back_h{tag} = MatMul (reset{tag}, turn_h{d})",
                f"sum_h{tag} = Add (h{tag}, back_h{tag})",
            )  # fmt: skip
        self.gate(f"fresh{tag}", 1, f"sum_h{tag}")
        self.add(
            f"away{tag} = Sub ({number(1.0)}, gate_z{tag})", f"new{tag} = Mul (away{tag}, fresh{tag})",
            f"old{tag} = Mul (gate_z{tag}, {hidden})", f"hidden{tag} = Add (new{tag}, old{tag})",
        )  # fmt: skip
        return f"hidden{tag}", ""

    # RNN

    def _rnn_weights(self, recurrent: str) -> None:
        self.add(f"turn{self.d} = Transpose <perm = [1, 0]> ({recurrent})")

    def _rnn(self, tag: str, now: str, hidden: str, cell: str) -> tuple[str, str]:
        self.add(f"back{tag} = MatMul ({hidden}, turn{self.d})", f"sum{tag} = Add ({now}, back{tag})")
        self.gate(f"hidden{tag}", 0, f"sum{tag}")
        return f"hidden{tag}", ""


@body("LSTM", "GRU", "RNN")
def recurrent(node: ir.Node) -> str | None:
    """Every step of every direction, unrolled."""
    assert node.inputs[0] is not None and node.inputs[2] is not None
    shape, batch_first = shape_of(node.inputs[0], node), bool(integer(node, "layout", 0))
    steps, batch = (shape[1], shape[0]) if batch_first else shape[:2]
    directions, _, hidden = shape_of(node.inputs[2], node)
    functions = _activations(node, directions)
    if functions is None or not steps:
        return None
    direction = text(node, "direction", "forward")
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    lengths = node.inputs[4] if len(node.inputs) > 4 else None
    known = constant(lengths)
    masked = lengths is not None and (known is None or bool(np.any(np.asarray(known) < steps)))
    lines = [f"sequence = {'Transpose <perm = [1, 0, 2]>' if batch_first else 'Identity'} (x0)"]
    if masked:
        lines.append(f"lengths = Unsqueeze (x4, {ints(1)})")
        for t in range(steps):
            lines += [f"at{t} = CastLike ({scalar(t)}, x4)", f"within{t} = Less (at{t}, lengths)"]
    results: list[list[str]] = []
    ends: list[tuple[str, str]] = []
    for index, turned in enumerate(backwards):
        made = Direction(node, index, turned, functions[index], (steps, batch, hidden), masked)
        outputs, last, cell = made.run()
        lines += made.lines
        results.append(outputs)
        ends.append((last, cell))
    return "\n".join([*lines, *_outputs(node, results, ends, (steps, batch, hidden), batch_first)])


def _outputs(
    node: ir.Node,
    results: list[list[str]],
    ends: list[tuple[str, str]],
    sizes: tuple[int, int, int],
    batch_first: bool,
) -> list[str]:
    """All steps' results [S, D, B, H], the last ones [D, B, H] and cells; batch first with another layout."""
    steps, batch, hidden = sizes
    directions, lines = len(ends), []
    every = [results[d][t] for t in range(steps) for d in range(directions)]
    lines.append(f"rows = Concat <axis = 0> ({', '.join(every)})")
    shaped = ints(steps, directions, batch, hidden)
    states = [("all", "rows", shaped, [2, 0, 1, 3])]
    for name, which in (("last", 0), ("cells", 1)):
        if ends[0][which]:
            lines.append(f"{name}_rows = Concat <axis = 0> ({', '.join(end[which] for end in ends)})")
            states.append((name, f"{name}_rows", ints(directions, batch, hidden), [1, 0, 2]))
    for index, (name, source, shape, order) in enumerate(states[: len(node.outputs)]):
        if batch_first:
            lines.append(f"{name} = Reshape ({source}, {shape})")
            lines.append(f"y{index} = Transpose <perm = {order}> ({name})")
        else:
            lines.append(f"y{index} = Reshape ({source}, {shape})")
    return lines
