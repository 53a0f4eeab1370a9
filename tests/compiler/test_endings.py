"""Quantization at the end of a product's tiles: the bits of layers apart, wherever tiles, cores and readers are."""

import tomllib

import numpy as np
import pytest
from networks import network
from onnx import numpy_helper
from running import by_reference, by_schedule, by_simulator, feeds, same_bits, with_l1

from potluck.compiler import build as building
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.schedule import endings
from potluck.compiler.schedule.file import parse
from potluck.compiler.schemes.assignment import Assignment
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine
from potluck.sim.simulate import simulate

CONVS = """g (float[{n}, 32, {h}, {w}] x) => (float[{n}, 24, {h}, {w}] y) {{
    a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, v, b)
    r = Relu (a)
    y = Conv <kernel_shape = [1, 1]> (r, u, c) }}"""
ROWS = """g (float[1, {rows}, 64] x) => (float[1, {rows}, 40] y) {{
    a = MatMul (x, v)
    y = MatMul (a, u) }}"""
KEPT = """g (float[1, 32, 7, 9] x) => (float[1, 64, 7, 9] y, float[1, 64, 7, 9] z) {
    a = Conv <kernel_shape = [1, 1]> (x, v, b)
    r = Relu (a)
    s = Sigmoid (r)
    z = Mul (r, s)
    y = Conv <kernel_shape = [1, 1]> (r, u, c) }"""
OUTPUT = """g (float[1, 32, 7, 9] x) => (float[1, 64, 7, 9] r, float[1, 24, 7, 9] y) {
    r = Conv <kernel_shape = [1, 1]> (x, v, b)
    y = Conv <kernel_shape = [1, 1]> (r, u, c) }"""
TWO = """g (float[1, 32, 7, 9] x) => (float[1, 24, 7, 9] y, float[1, 40, 7, 9] z) {
    r = Conv <kernel_shape = [1, 1]> (x, v, b)
    y = Conv <kernel_shape = [1, 1]> (r, u, c)
    z = Conv <kernel_shape = [1, 1]> (r, t, d) }"""


def convs(n=1, h=9, w=10, channels=64):
    return network(
        CONVS.format(n=n, h=h, w=w), v=(channels, 32, 3, 3), b=(channels,), u=(24, channels, 1, 1), c=(24,)
    )


def rows(count, channels=96):
    return network(ROWS.format(rows=count), v=(64, channels), u=(channels, 40))


SOURCES = {
    "convolutions": convs,
    "a batch": lambda: convs(2, 5, 6),
    "ragged blocks": lambda: convs(1, 5, 7, 40),
    "long rows": lambda: convs(1, 3, 70),
    "matrices": lambda: rows(24),
    "an odd number of rows": lambda: rows(37, 32),
    "ragged matrices": lambda: rows(13, 50),
    "read elsewhere": lambda: network(KEPT, v=(64, 32, 1, 1), b=(64,), u=(64, 64, 1, 1), c=(64,)),
    "an output": lambda: network(OUTPUT, v=(64, 32, 1, 1), b=(64,), u=(24, 64, 1, 1), c=(24,)),
    "two readers": lambda: network(
        TWO, v=(64, 32, 1, 1), b=(64,), u=(24, 64, 1, 1), c=(24,), t=(40, 64, 1, 1), d=(40,)
    ),
}


def machine(cores=2):
    return load_machine("spatz-mx", {"cluster.cores": cores})


@pytest.fixture
def always(monkeypatch):
    """Joined wherever that is possible, whatever the cost model says."""
    monkeypatch.setattr(endings, "LAYER", 1e12)


def apart(monkeypatch, model, target, edits=()):
    with monkeypatch.context() as patched:
        patched.setattr(building, "ended", lambda plans, kept, target: list(plans))
        return build(model, target, edits=edits)


def joined(schedule):
    return [op for op in schedule.ops if "+Quantize" in op.op]


def quantizers(schedule):
    return [op for op in schedule.ops if op.op.startswith("Quantize")]


def special(schedule, seed=1):
    """Inputs with infinities, NaN and numbers that overflow or vanish."""
    found = feeds(schedule, seed)
    rng = np.random.default_rng(seed)
    for values in found.values():
        places = rng.choice(values.size, 6, replace=False)
        values.flat[places] = np.float32([np.inf, -np.inf, np.nan, 3e38, -1e-40, -0.0])
    return found


def check(monkeypatch, model, target, simulated=True):
    """Bits, on usual and on special inputs; returns the schedule."""
    schedule, other = build(model, target), apart(monkeypatch, model, target)
    assert joined(schedule) and not joined(other) and len(schedule.ops) < len(other.ops)
    for inputs in (feeds(schedule), special(schedule)):
        with np.errstate(all="ignore"):
            expected = by_schedule(other, inputs)
            assert same_bits(by_schedule(schedule, inputs), expected)
            assert same_bits(by_schedule(schedule, inputs, late=True), expected)
        if simulated:
            assert same_bits(by_simulator(schedule, inputs), expected)
    return schedule


@pytest.mark.parametrize("name", SOURCES)
def test_bits_are_those_of_layers_apart(name, monkeypatch, always):
    schedule = check(monkeypatch, prepare(SOURCES[name](), "mxfp8"), machine())
    inputs = feeds(schedule)
    for got, expected in zip(by_schedule(schedule, inputs), by_reference(schedule, inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("cores", [1, 3, 4, 8, 16])
@pytest.mark.parametrize("name", ["convolutions", "ragged blocks", "long rows", "an odd number of rows"])
def test_any_number_of_cores(name, cores, monkeypatch, always):
    check(monkeypatch, prepare(SOURCES[name](), "mxfp8"), machine(cores), cores in (3, 16))


@pytest.mark.parametrize("scheme", ["mxfp8_e5m2", "mxfp4", "mxint8", "mxfp6", "mxfp4_mxfp8"])
@pytest.mark.parametrize("name", ["convolutions", "ragged matrices"])
def test_every_format(name, scheme, monkeypatch, always):
    check(monkeypatch, prepare(SOURCES[name](), scheme), machine())


def test_two_readers_in_two_formats(monkeypatch, always):
    """Both quantizers end the same tiles."""
    source = SOURCES["two readers"]()
    for node, name in zip(source.graph.node, "pqs", strict=True):
        node.name = name
    model = prepare(source, Assignment({"p": "mxfp8", "q": "mxfp4", "s": "mxint8"}))
    (op,) = joined(check(monkeypatch, model, machine()))
    assert op.op.count("+Quantize") == 2


def test_an_fp32_product_before_mx_ones(monkeypatch, always):
    source = convs()
    for node, name in zip(source.graph.node, "pqs", strict=True):
        node.name = name
    (op,) = joined(check(monkeypatch, prepare(source, Assignment({"p": "fp32", "s": "mxfp8"})), machine()))
    assert op.format == "fp32"


def test_the_values_stay_in_l1(monkeypatch, always):
    """The tensor between has no place in DRAM, and nobody stores or loads it; where somebody reads it, it has."""
    model = prepare(convs(), "mxfp8")
    schedule, other = build(model, machine()), apart(monkeypatch, model, machine())
    assert {tensor.name for tensor in other.tensors} - {tensor.name for tensor in schedule.tensors} == {"r"}
    stored, before = (sum(op.bytes_moved for op in made.ops) for made in (schedule, other))
    assert before - stored > 2 * 4 * 64 * 90 * 0.9  # out and in, but for what tiles load twice
    buffers = {buffer.tensor for buffer in generate(schedule).manifest.buffers}
    assert "r" not in buffers and {"x", "y"} <= buffers
    kept = build(prepare(SOURCES["an output"](), "mxfp8"), machine())
    assert joined(kept) and "r" in {tensor.name for tensor in kept.tensors}


def test_layers_keep_the_product_s_name_and_its_work(monkeypatch, always):
    model = prepare(convs(), "mxfp8")
    schedule, other = build(model, machine()), apart(monkeypatch, model, machine())
    (op,) = joined(schedule)
    (alone,) = (item for item in other.ops if item.name == op.name)
    assert op.op == f"{alone.op}+{quantizers(other)[1].op}" and (op.macs, op.format) == (
        alone.macs,
        alone.format,
    )
    result = simulate(generate(schedule), feeds(schedule), machine())
    (layer,) = (item for item in result.layers if item.name == op.name)
    assert layer.op == op.op and layer.macs == op.macs and max(layer.bounds.values()) <= layer.cycles


TILES = {
    "fewer rows": {"rows": 2},
    "strips": {"columns": 4, "weights": "again", "channels": 32},
    "cores share channels": {"rows": 3, "cores_split": "channels", "channels": 32},
    "one buffer of weights": {"channels": 32, "cores_split": "rows", "weights": "one buffer", "rows": 4},
    "strips of all channels": {"columns": 4, "channels": 64, "cores_split": "rows", "rows": 9},
    "the last strip over the one before": {
        "columns": 8,
        "channels": 32,
        "cores_split": "channels",
        "rows": 5,
    },
}


@pytest.mark.parametrize("name", TILES)
def test_tiles_of_a_schedule_file(name, monkeypatch, always):
    model = prepare(convs(2), "mxfp8")
    plain, other = build(model, machine()), apart(monkeypatch, model, machine())
    (op,) = joined(plain)
    lines = [f"{key} = {value!r}" for key, value in {"name": op.name, "op": op.op, **TILES[name]}.items()]
    schedule = build(model, machine(), edits=parse("\n".join(["version = 1", "[[layer]]", *lines])))
    table = next(item for item in tomllib.loads(schedule.text)["layer"] if item["name"] == op.name)
    assert TILES[name].items() <= table.items()
    assert joined(schedule)[0].tiles != op.tiles
    for inputs in (feeds(schedule), special(schedule)):
        with np.errstate(all="ignore"):
            expected = by_schedule(other, inputs)
            assert same_bits(by_schedule(schedule, inputs), expected)
        assert same_bits(by_simulator(schedule, inputs), expected)


def test_tiles_that_cut_blocks_are_not_legal(always):
    model = prepare(convs(), "mxfp8")
    (op,) = joined(build(model, machine()))
    text = f'version = 1\n[[layer]]\nname = "{op.name}"\nop = "{op.op}"\nchannels = 16\n'
    with pytest.raises(ModelError, match=r"'channels' to 16, legal are 32, 64"):
        build(model, machine(), edits=parse(text))


def test_a_small_l1(monkeypatch, always):
    """Channels come in groups there."""
    check(monkeypatch, prepare(convs(1, 12, 12, 96), "mxfp8"), with_l1(machine(), 40 << 10))


def test_many_cores_with_channels_of_their_own(monkeypatch, always):
    """Eight slices are 16 transfers; 16 times two are more than a record holds, and refused."""
    model = prepare(rows(24, 512), "mxfp8")
    text = 'version = 1\n[[layer]]\nname = "MatMul_0"\ncores_split = "channels"\nchannels = 32\nrows = 2\n'
    schedule = build(model, machine(8), edits=parse(text))
    (op,) = joined(schedule)
    assert max(len(tile.stores) for tile in op.tiles) == 16
    inputs = feeds(schedule)
    expected = by_schedule(apart(monkeypatch, model, machine(8)), inputs)
    assert same_bits(by_schedule(schedule, inputs), expected)
    assert same_bits(by_simulator(schedule, inputs), expected)
    with pytest.raises(ModelError, match=r"'MatMul_0'.*32 transfers of codes, scales and values"):
        build(model, machine(16), edits=parse(text))


def test_it_stays_a_layer_where_it_would_cost_more_or_codes_are_others(monkeypatch):
    model = prepare(convs(), "bbq4", calibration={"x": np.ones((1, 32, 9, 10), np.float32)})
    with monkeypatch.context() as patched:
        patched.setattr(endings, "LAYER", 1e12)
        ops = build(model, machine()).ops
    assert any("Quantize" in op.op for op in ops) and not any("+Bbq" in op.op for op in ops)
    monkeypatch.setattr(endings, "LAYER", -1e12)
    schedule = build(prepare(convs(), "mxfp8"), machine())
    assert not joined(schedule) and len(quantizers(schedule)) == 2


@pytest.mark.parametrize(
    ("scheme", "bound"), [("mxfp8", 0.0), ("mxfp8", -0.0), ("mxfp4", 0.0), ("mxfp4", -0.0)]
)
def test_signs_are_left_alone_where_there_are_none(monkeypatch, scheme, bound):
    source = network(
        CONVS.format(n=1, h=9, w=10, channels=64).replace("Relu (a)", "Clip (a, low)"),
        v=(64, 32, 3, 3), b=(64,), u=(24, 64, 1, 1), c=(24,), low=(),
    )  # fmt: skip
    (low,) = (item for item in source.graph.initializer if item.name == "low")
    low.CopyFrom(numpy_helper.from_array(np.float32(bound), "low"))
    model = prepare(source, scheme)
    schedule = build(model, machine())
    monkeypatch.setattr(building, "without_signs", list)
    looking = build(model, machine())
    for inputs in (feeds(schedule), special(schedule)):
        with np.errstate(all="ignore"):
            assert same_bits(by_schedule(schedule, inputs), by_schedule(looking, inputs))
    positive = [kernel.positive for op in joined(schedule) for kernel in op.kernel.kernels]
    assert positive == [not np.signbit(bound)]
