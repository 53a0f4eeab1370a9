"""Elementwise layers in a row become one, with the same bits; reciprocals take the place of divisors that repeat."""

import numpy as np
import onnx
import pytest
from networks import network
from onnx.reference import ReferenceEvaluator
from running import by_reference, by_schedule, by_simulator, feeds, same_bits

from potluck.compiler import build as building
from potluck.compiler.build import build, prepare
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")
CHAINS = {
    "a bias, a scale and an activation": ("""g (float[7, 40] x) => (float[7, 40] y) {
        a = Mul (x, s)
        b = Add (a, t)
        y = Sigmoid (b) }""", {"s": (1,), "t": (40,)}, ["Mul+Add+Sigmoid"]),
    "one value per row": ("""g (float[6, 50] x, float[6, 1] z) => (float[6, 50] y) {
        r = Sqrt (z)
        a = Mul (x, r)
        y = Mul (a, s) }""", {"s": (50,)}, ["Sqrt", "Mul+Mul"]),
    "a shape between": ("""g (float[2, 3, 40] x) => (float[6, 40] y) {
        a = Neg (x)
        i = Constant <value_ints = [6, 40]> ()
        b = Reshape (a, i)
        y = Add (b, s) }""", {"s": (40,)}, ["Neg+Add"]),
    "an image": ("""g (float[1, 8, 6, 6] x) => (float[1, 8, 6, 6] y) {
        a = Conv (x, w)
        b = Mul (a, s)
        c = Add (b, a)
        y = Relu (c) }""", {"w": (8, 8, 1, 1), "s": (8, 1, 1)}, ["Conv", "Mul+Add"]),
    "twice the same operand": ("""g (float[9, 33] x) => (float[9, 33] y) {
        a = Neg (x)
        y = Mul (a, a) }""", {}, ["Neg+Mul"]),
    "read by two": ("""g (float[9, 33] x) => (float[9, 33] y) {
        a = Exp (x)
        b = Neg (a)
        y = Mul (a, b) }""", {}, ["Exp", "Neg+Mul"]),
    "repeated behind": ("""g (float[1, 33] x, float[9, 33] z) => (float[9, 33] y) {
        a = Neg (x)
        y = Mul (a, z) }""", {}, ["Neg", "Mul"]),
    "an output": ("""g (float[9, 33] x) => (float[9, 33] a, float[9, 33] y) {
        a = Neg (x)
        y = Exp (a) }""", {}, ["Neg", "Exp"]),
    "no more operands than registers": ("""g (float[4, 20] a, float[4, 20] b, float[4, 20] c, float[4, 20] d,
                                float[4, 20] e, float[4, 20] f, float[4, 20] h) => (float[4, 20] y) {
        s = Mul (a, b)
        t = Mul (c, d)
        u = Mul (e, f)
        v = Add (s, t)
        w = Add (u, h)
        y = Mul (v, w) }""", {}, ["Mul+Add", "Mul+Mul+Add+Mul"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_one_layer_with_the_same_bits(name, monkeypatch):
    text, shapes, expected = CHAINS[name]
    source = network(text, **shapes)
    schedule = build(prepare(source), MACHINE)
    assert [op.op for op in schedule.ops] == expected
    inputs = {key: np.abs(value) if key == "z" else value for key, value in feeds(schedule).items()}
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    monkeypatch.setattr(building, "fuse", lambda plans, kept: list(plans))
    alone = build(prepare(source), MACHINE)
    assert len(alone.ops) > len(schedule.ops) or expected in (["Neg", "Mul"], ["Neg", "Exp"])
    assert same_bits(by_schedule(alone, inputs), outputs)


REDUCED = {
    "a norm": ("""g (float[{rows}, 77] x) => (float[{rows}, 77] y) {{
        a = Mul (x, x)
        m = ReduceMean (a, last)
        s = Add (m, e)
        q = Sqrt (s)
        y = Div (x, q) }}""", {"e": (1,)}, ["Mul+ReduceMean+Add+Sqrt+Reciprocal", "Mul"]),
    "two operands along rows": ("""g (float[{rows}, 40] x, float[{rows}, 40] z) => (float[1, 40] y) {{
        a = Mul (x, z)
        b = Abs (a)
        m = ReduceSum (b, first)
        y = Neg (m) }}""", {}, ["Mul+Abs+ReduceSum+Neg"]),
    "a shape between": ("""g (float[{rows}, 2, 30] x) => (float[{rows}] y) {{
        a = Neg (x)
        r = Reshape (a, shape)
        y = ReduceMax <keepdims = 0> (r, last) }}""", {}, ["Neg+ReduceMax"]),
    "another operand behind": ("""g (float[{rows}, 40] x, float[{rows}, 1] z) => (float[{rows}, 1] y) {{
        m = ReduceSum (x, last)
        y = Add (m, z) }}""", {}, ["ReduceSum", "Add"]),
    "repeated behind": ("""g (float[{rows}, 40] x, float[{rows}, 40] z) => (float[{rows}, 40] y) {{
        m = ReduceSum (x, last)
        y = Add (z, m) }}""", {}, ["ReduceSum", "Add"]),
    "an operand that repeats": ("""g (float[{rows}, 40] x) => (float[{rows}, 1] y) {{
        a = Mul (x, t)
        y = ReduceSum (a, last) }}""", {"t": (40,)}, ["Mul", "ReduceSum"]),
    "much before": ("""g (float[{rows}, 40] x) => (float[{rows}, 1] y) {{
        a = Exp (x)
        y = ReduceSum (a, last) }}""", {}, ["Exp", "ReduceSum"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize(("rows", "cores"), [(3, 1), (2, 2), (5, 3), (9, 4)])
def test_a_reduction_takes_its_neighbours(name, rows, cores, monkeypatch):
    text, shapes, expected = REDUCED[name]
    integers = {"last": [-1], "first": [0], "shape": [rows, 60]}
    source = network(text.format(rows=rows), integers=integers, **shapes)
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    schedule = build(prepare(source), machine)
    assert [op.op for op in schedule.ops] == expected
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    monkeypatch.setattr(building, "fuse", lambda plans, kept: list(plans))
    alone = build(prepare(source), machine)
    assert all("+" not in op.op for op in alone.ops)
    assert same_bits(by_schedule(alone, inputs), outputs)


def test_long_reductions_stay_in_chunks():
    """What L1 does not hold at once is reduced in parts, which others combine."""
    source = network("""g (float[1, 90000] x) => (float[1, 1] y) {
        a = Mul (x, x)
        m = ReduceSum (a, last)
        y = Sqrt (m) }""", integers={"last": [-1]})  # fmt: skip
    schedule = build(prepare(source), MACHINE)
    assert not any(op.op.startswith("Mul+") for op in schedule.ops)
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)
    np.testing.assert_allclose(outputs[0], by_reference(schedule, inputs)[0], rtol=1e-5)


def test_what_stays_in_registers_takes_no_memory():
    source = network(
        """g (float[64, 64] x) => (float[64, 64] y) {
          a = Neg (x)
          b = Exp (a)
          y = Neg (b) }"""
    )
    schedule = build(prepare(source), MACHINE)
    assert [tensor.name for tensor in schedule.tensors] == ["x", "y"]


def test_wide_expressions_stay_apart():
    """An expression that needs more vector registers than there are is no layer."""
    terms = "\n".join(f"a{i} = Sin (x{i})\nb{i} = Tan (a{i})" for i in range(5))
    sums = "\n".join(f"s{i} = Add ({'b0' if i == 1 else f's{i - 1}'}, b{i})" for i in range(1, 5))
    inputs = ", ".join(f"float[3, 40] x{i}" for i in range(5))
    source = network(f"g ({inputs}) => (float[3, 40] y) {{\n{terms}\n{sums}\ny = Neg (s4) }}")
    schedule = build(prepare(source), MACHINE)
    values = feeds(schedule)
    outputs = by_schedule(schedule, values)
    assert same_bits(by_simulator(schedule, values), outputs)
    np.testing.assert_allclose(outputs[0], by_reference(schedule, values)[0], rtol=1e-3, atol=1e-3)


def divided(divisor, kind="float"):
    text = f"g ({kind}[5, 24] x) => ({kind}[5, 24] y) {{ y = Div (x, d) }}"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]>\n{text}')
    array = np.array(divisor, np.float32 if kind == "float" else np.float64)
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, "d"))
    return model


@pytest.mark.parametrize(
    ("divisor", "kind", "op"),
    [
        (5.656854, "float", "Mul"),
        ([3.0] * 24, "float", "Mul"),
        (0.0, "float", "Div"),
        (np.inf, "float", "Div"),
        (1e-39, "float", "Div"),  # no normal number
        (3e38, "float", "Div"),  # its reciprocal is none
        (3.0, "double", "Div"),
    ],
)
def test_known_divisors_with_normal_reciprocals_are_multiplied(divisor, kind, op):
    assert [node.op_type for node in prepare(divided(divisor, kind)).graph] == [op]


def test_quotients_of_roots_are_products_within_two_ulp():
    text = """g (float[5, 64] x, float[5, 1] v) => (float[5, 64] y) {
      r = Sqrt (v)
      y = Div (x, r) }"""
    source = network(text)
    prepared = prepare(source)
    assert [node.op_type for node in prepared.graph] == ["Sqrt", "Reciprocal", "Mul"]
    rng = np.random.default_rng(0)
    scales = np.float32([[1e-38], [3e38], [1.0], [7.3], [1e-20]])
    inputs = {"x": rng.standard_normal((5, 64)).astype(np.float32), "v": scales}
    got = by_schedule(build(prepared, MACHINE), inputs)[0]
    want = ReferenceEvaluator(source).run(None, inputs)[0]
    np.testing.assert_array_max_ulp(got, want, 2)


def test_roots_that_divide_twice_have_one_reciprocal_and_it_comes_first():
    """LayerNormalization's own function has a Reciprocal of the same root behind the division."""
    source = network(
        """g (float[5, 64] x, float[5, 1] v) => (float[5, 64] y, float[5, 64] u, float[5, 1] z) {
          r = Sqrt (v)
          y = Div (x, r)
          n = Neg (x)
          u = Div (n, r)
          z = Reciprocal (r) }"""
    )
    prepared = prepare(source)
    assert [node.op_type for node in prepared.graph] == [
        "Sqrt",
        "Reciprocal",
        "Mul",
        "Neg",
        "Mul",
        "Reciprocal",
    ]
    schedule = build(prepared, MACHINE)
    inputs = {key: np.abs(value) for key, value in feeds(schedule).items()}
    for got, want in zip(by_schedule(schedule, inputs), by_reference(schedule, inputs), strict=True):
        np.testing.assert_array_max_ulp(got, want, 2)


def test_a_root_that_divides_few_values_stays_a_divisor():
    text = "g (float[5, 64] x, float[5, 64] v) => (float[5, 64] y) { r = Sqrt (v)\n y = Div (x, r) }"
    assert [node.op_type for node in prepare(network(text)).graph] == ["Sqrt", "Div"]


@pytest.mark.parametrize("cores", [1, 4, 16])
def test_every_core_has_a_part_of_long_rows(cores):
    """Two rows of 3,000 values fit L1: then cores divide rows, too."""
    machine = load_machine("spatz-mx", {"cluster.cores": cores})
    source = network("g (float[20, 3000] x, float[20, 3000] z) => (float[20, 3000] y) { y = Mul (x, z) }")
    schedule = build(prepare(source), machine)
    (op,) = schedule.ops
    elements = [[args[3] * args[4] for args in tile.args] for tile in op.tiles]
    assert sum(map(sum, elements)) == 60_000
    assert all(min(shares) > 0 for shares in elements[:-1])
    inputs = feeds(schedule)
    outputs = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), outputs)


@pytest.mark.parametrize(
    "between", ["y = {step} (q)", "t = Add (q, q)\n y = {step} (t)", "t = Neg (q)\n y = {step} (t)"]
)
@pytest.mark.parametrize("step", ["Floor", "Round", "Cast <to = 6>"])
def test_what_steps_hang_on_is_divided(between: str, step: str) -> None:
    """Of x = 41 floor(x / 41) is 1, and 41 times the reciprocal is below 1."""
    kind = "int32" if step.startswith("Cast") else "float"
    source = network(f"""g (float[8, 8] x) => ({kind}[8, 8] y) {{
      d = Constant <value = float {{41.0}}> ()
      q = Div (x, d)
      {between.format(step=step)} }}""")
    prepared = prepare(source)
    assert "Mul" not in [node.op_type for node in prepared.graph]
    inputs = {"x": np.arange(64, dtype=np.float32).reshape(8, 8) * 41}
    want = ReferenceEvaluator(source).run(None, inputs)[0]
    np.testing.assert_array_equal(by_schedule(build(prepared, MACHINE), inputs)[0], want)


def test_a_division_of_few_is_left() -> None:
    model = divided(255.0, "float")
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", 1, [1]))
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, [1]))
    assert [node.op_type for node in prepare(model).graph] == ["Div"]
