"""Layers side by side: the bits of one after the other, whoever joins them, and never two that need each other."""

import itertools
import tomllib

import numpy as np
import pytest
from integer_chain import samples
from networks import network
from running import by_schedule, by_simulator, feeds, same_bits, with_l1
from test_schedule_file import edited

from potluck.allocation.machine import attribute
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import generate
from potluck.compiler.lowering.abreast import AbreastPlan
from potluck.compiler.schedule import abreast
from potluck.compiler.schedule.abreast import needs, order
from potluck.compiler.schedule.file import parse
from potluck.compiler.schedule.layer import describe
from potluck.compiler.schedule.memory import Storage
from potluck.explain import explain, find
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine
from potluck.isa.manifest import members
from potluck.sim.simulate import simulate

CORES = (2, 3, 4, 8, 16)


def machine(cores):
    return load_machine("spatz-mx", {"cluster.cores": cores})


def named(model):
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    return model


def branches(size=12, strides=1):
    """A block with a shortcut: n1 and n3 read the same image; n2 needs n1."""
    out = size // strides
    body = f"""g (float[1, 3, {size}, {size}] x) => (float[1, 24, {out}, {out}] y) {{
      a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0, b0)
      b = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [{strides}, {strides}]> (a, w1, b1)
      c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, w2, b2)
      s = Conv <kernel_shape = [1, 1], strides = [{strides}, {strides}]> (a, w3, b3)
      y = Add (c, s)
    }}"""
    shapes = {
        "w0": (32, 3, 3, 3),
        "b0": (32,),
        "w1": (40, 32, 3, 3),
        "b1": (40,),
        "w2": (24, 40, 3, 3),
        "b2": (24,),
    }
    return named(network(body, 3, w3=(24, 32, 1, 1), b3=(24,), **shapes))


def heads():
    """Norm, three products of its result, each with a sum behind it, a norm again."""
    norm = """{0}_m = ReduceMean <keepdims = 1> ({1}, axis)
      {0}_d = Sub ({1}, {0}_m)
      {0}_s = Mul ({0}_d, {0}_d)
      {0}_v = ReduceMean <keepdims = 1> ({0}_s, axis)
      {0}_r = Sqrt ({0}_v)
      {0} = Div ({0}_d, {0}_r)"""
    body = f"""g (float[1, 6, 64] x) => (float[1, 6, 64] y, float[1, 6, 32] v) {{
      {norm.format("n", "x")}
      q = MatMul (n, w0)
      qb = Add (q, b0)
      k = MatMul (n, w1)
      kb = Add (k, b1)
      vm = MatMul (n, w2)
      v = Relu (vm)
      t = Add (qb, kb)
      {norm.format("y", "t")}
    }}"""
    shapes = {"w0": (64, 64), "b0": (64,), "w1": (64, 64), "b1": (64,), "w2": (64, 32)}
    return named(network(body, 5, integers={"axis": [-1]}, **shapes))


def joined(schedule):
    return [members(plan.name) for plan in schedule.plans if isinstance(plan, AbreastPlan)]


def entries(**layers):
    """A schedule that says something of some layers."""
    lines = ["version = 1"]
    for name, values in layers.items():
        lines += ["[[layer]]", f'name = "{name}"', *(f"{key} = {value!r}" for key, value in values.items())]
    return parse("\n".join(lines))


@pytest.fixture
def eager(monkeypatch):
    """A compiler that joins whatever it may."""
    monkeypatch.setattr(abreast, "GAIN", 100)
    monkeypatch.setattr(abreast, "FAR", 100)


SCHEMES = {
    "FP32": None, "MXFP8": "mxfp8", "MXFP4": "mxfp4", "MXINT8": "mxint8", "int8": "int8", "int4": "int4",
    "weights of 8 bits": "mxfp8_weights", "BF16 weights": "bf16_weights",
}  # fmt: skip


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_convolutions_side_by_side_have_the_bits_of_one_after_the_other(scheme, cores):
    word = SCHEMES[scheme]
    options = {"calibration": samples((1, 3, 12, 12))} if word in ("int8", "int4") else {}
    model = prepare(branches(), word, **options)
    apart = build(model, machine(1))
    schedule = build(model, machine(cores), edits=entries(n3={"abreast": "n1"}))
    assert ["n1", "n3"] in joined(schedule)
    given = feeds(apart)
    expected = by_schedule(apart, given)
    assert same_bits(by_schedule(schedule, given), expected)
    assert same_bits(by_schedule(schedule, given, late=True), expected)
    assert same_bits(by_simulator(schedule, given, timed=True), expected)


@pytest.mark.parametrize("cores", CORES)
@pytest.mark.parametrize("scheme", [None, "mxfp8"])
@pytest.mark.parametrize(
    "source", [branches, lambda: branches(24, 2), heads], ids=["block", "strides", "heads"]
)
def test_whatever_the_compiler_may_join_keeps_its_bits(source, scheme, cores, eager):
    model = prepare(source(), scheme)
    apart, schedule = build(model, machine(1)), build(model, machine(cores))
    assert not joined(apart) and joined(schedule)
    given = feeds(apart)
    expected = by_schedule(apart, given)
    assert same_bits(by_schedule(schedule, given), expected)
    assert same_bits(by_simulator(schedule, given, timed=True), expected)


@pytest.mark.parametrize("seed", range(9))
def test_networks_of_any_shape(seed, eager):
    """Random graphs of convolutions and sums, with memory that is used again; L1 is small, so tiles are many."""
    rng = np.random.default_rng(seed)
    lines, shapes, values = [], {}, ["x"]
    for number in range(14):
        name = f"v{number}"
        left, right = (values[max(0, len(values) - 1 - int(rng.integers(0, 5)))] for _ in range(2))
        if rng.random() < 0.7:
            lines.append(f"{name} = Conv <kernel_shape = [1, 1]> ({left}, w{number})")
            shapes[f"w{number}"] = (32, 32, 1, 1)
        else:
            lines.append(f"{name} = Add ({left}, {right})")
        values.append(name)
    body = "g (float[1, 32, 9, 10] x) => (float[1, 32, 9, 10] y) {\n" + "\n".join(lines)
    body += "\nt = Add (v13, v12)\nz = Add (v11, v10)\ny = Add (t, z)\n}"
    model = prepare(named(network(body, seed, **shapes)), [None, "mxfp8"][seed % 2])
    small = with_l1(machine(4), 1 << 15)
    apart, schedule = build(model, machine(1)), build(model, small)
    assert joined(schedule)
    given = feeds(apart)
    expected = by_schedule(apart, given)
    assert same_bits(by_schedule(schedule, given), expected)
    assert same_bits(by_simulator(schedule, given), expected)
    _independent(model, schedule)


def _independent(model, schedule):
    """No layer of a step needs another of it, as the graph says, which knows nothing of plans."""
    depth = {node.name: set() for node in model.graph}
    for node in model.graph:
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None:
                depth[node.name] |= {producer.name, *depth[producer.name]}
    for names in joined(schedule):
        for one, other in itertools.permutations(names, 2):
            assert one not in depth[other], (one, other)


def test_a_member_that_is_much_longer_and_one_with_its_weights_in_one_buffer():
    """Tiles of one row beside a single tile; and tiles in which weights change, beside tiles that compute.

    One of the two quantizes its result.
    """
    model = prepare(branches(), "mxfp8")
    apart = build(model, machine(1))
    given = feeds(apart)
    expected = by_schedule(apart, given)
    first = build(model, machine(4), edits=entries(n3={"abreast": "n1"})).text
    for n1, n3 in (
        ({"rows": 1, "columns": 12}, {"rows": 12, "columns": 12}),
        ({"rows": 12, "columns": 12}, {"rows": 1, "columns": 12}),
        ({"rows": 2}, {"channels": 8, "weights": "one buffer", "cores_split": "rows"}),
        ({"columns": 4, "rows": 4}, {"channels": 8, "weights": "again", "rows": 5}),
    ):
        text = edited(edited(first, "n1", **n1), "n3", **n3)
        schedule = build(model, machine(4), edits=parse(text))
        (joint,) = (op for op in schedule.ops if len(members(op.name)) > 1)
        assert joint.op == "Conv+QuantizeMx | Conv"
        said = {table["name"]: table for table in tomllib.loads(schedule.text)["layer"]}
        assert n1.items() <= said["n1"].items() and n3.items() <= said["n3"].items()
        parts = next(plan.members for plan in schedule.plans if isinstance(plan, AbreastPlan))
        counts = [member.plan.cost.tiles for member in parts]
        assert len(joint.tiles) == max(counts)
        assert same_bits(by_schedule(schedule, given), expected)
        assert same_bits(by_simulator(schedule, given, timed=True), expected)


def test_members_have_parts_of_l1_and_of_the_cores():
    model = prepare(branches(), "mxfp8")
    schedule = build(model, machine(8), edits=entries(n3={"abreast": "n1", "cores": 3}, n1={"cores": 4}))
    (op,) = (op for op in schedule.ops if len(members(op.name)) > 1)
    spans = sorted(op.footprint)
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(spans))
    for tile in op.tiles:
        assert [words[-1] for words in tile.args][7:] == [0]  # nobody has this core
        for words, number in zip(tile.args, [1] * 4 + [2] * 3 + [0], strict=True):
            assert words[-1] in (0, number) and len(words) == len(tile.args[0])
    text = describe(schedule.ops)
    assert "n1 | n3: Conv+QuantizeMx | Conv mxfp8" in text


def test_what_a_joint_layer_reports():
    model, eight = prepare(branches(), "mxfp8"), machine(8)
    apart = build(model, eight, edits=entries(**{f"n{i}": {"abreast": ""} for i in range(4)}))
    schedule = build(model, eight, edits=entries(n3={"abreast": "n1"}))
    assert not joined(apart)
    given = feeds(apart)
    one, two = (simulate(generate(item), given, eight) for item in (schedule, apart))
    found = {layer.name: layer for layer in one.layers}["n1 | n3"]
    parts = {layer.name: layer for layer in two.layers}
    assert found.macs == parts["n1"].macs + parts["n3"].macs and one.macs == two.macs
    assert found.format == "mxfp8" and found.op == "Conv+QuantizeMx | Conv"
    assert found.utilization == pytest.approx(found.macs / eight.peak_macs_per_cycle("mxfp8") / found.cycles)
    assert max(found.bounds.values()) <= found.cycles
    assert found.bounds["dma"] >= (parts["n1"].bounds["dma"] + parts["n3"].bounds["dma"]) / 2
    for name in ("n1", "n3", "n1 | n3"):
        assert [layer.name for layer in find(explain(one.to_json()), name)] == ["n1 | n3"]
    costs = attribute(one, ["n1", "n2", "n3"])
    assert list(costs) == ["n1", "n3", "n2"]
    assert sum(cost.cycles for cost in costs.values()) == pytest.approx(one.cycles)
    assert sum(cost.joules for cost in costs.values()) == pytest.approx(one.energy_joules)
    assert costs["n3"].cycles >= found.cycles / 2
    (plan,) = (plan for plan in schedule.plans if isinstance(plan, AbreastPlan))
    assert 0.5 < plan.estimate / found.cycles < 1.5


def test_the_compiler_joins_what_does_not_scale():
    """13 rows leave three of sixteen cores idle; where a layer has work for all, it has all."""
    body = """g (float[1, 64, 13, 13] x) => (float[1, 64, 13, 13] u, float[1, 64, 13, 13] v) {
      u = Conv <kernel_shape = [1, 1]> (x, w0, b0)
      v = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
    }"""
    shapes = {"w0": (64, 64, 1, 1), "b0": (64,), "w1": (64, 64, 3, 3), "b1": (64,)}
    model = prepare(named(network(body, 2, **shapes)), "mxfp8")
    sixteen = machine(16)
    schedule = build(model, sixteen)
    assert joined(schedule) == [["n0", "n1"]] and not joined(build(model, machine(1)))
    apart = build(model, sixteen, edits=entries(n1={"abreast": ""}))
    assert not joined(apart)
    given = feeds(apart)
    one, two = (simulate(generate(item), given, sixteen) for item in (schedule, apart))
    assert one.cycles < two.cycles
    for name in one.outputs:
        assert np.array_equal(one.outputs[name], two.outputs[name])


# -- the file


def test_what_is_written_is_read_back(eager):
    model = prepare(heads(), "mxfp8")
    schedule = build(model, machine(8))
    again = build(model, machine(8), edits=parse(schedule.text))
    assert joined(schedule) and again.text == schedule.text
    assert [op.tiles for op in again.ops] == [op.tiles for op in schedule.ops]
    tables = {table["name"]: table for table in tomllib.loads(schedule.text)["layer"]}
    for first, *others in joined(schedule):
        assert tables[first]["abreast"] == ""
        assert {tables[name]["abreast"] for name in others} == {first}
        assert sum(tables[name]["cores"] for name in (first, *others)) == 8


def test_a_file_forbids_what_the_compiler_would_do(eager):
    model = prepare(heads(), "mxfp8")
    text = build(model, machine(8)).text
    for table in tomllib.loads(text)["layer"]:
        if "abreast" in table:
            text = edited(text, table["name"], abreast="")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("cores ="))
    # Tiles of part of the cores may not be legal for all of them: only who runs beside whom is kept.
    kept = [
        line
        for line in text.splitlines()
        if line.split(" ")[0] in ("version", "[[layer]]", "name", "abreast")
    ]
    assert not joined(build(model, machine(8), edits=parse("\n".join(kept))))


BAD = [
    ({"n2": {"abreast": "n1"}}, r"'n2'.*'abreast' to 'n1': it needs what 'n1' computes"),
    ({"n2": {"abreast": "n0"}}, r"'n2'.*'abreast' to 'n0': it needs what 'n0' computes"),
    ({"n1": {"abreast": "n3"}}, r"'n1'.*'abreast' to 'n3': that layer does not come before it"),
    ({"n3": {"abreast": "n9"}}, r"'n3'.*'abreast' to 'n9': the network has no such layer"),
    ({"n3": {"abreast": 1}}, r"'n3'.*'abreast' to 1, legal are the name of an earlier layer"),
    ({"n4": {"abreast": "n1"}}, r"'n4'.*'abreast', this layer has"),
    ({"n3": {"cores": 2, "abreast": ""}}, r"'n3'.*'cores' to 2, but it runs alone, on all 4 cores"),
    ({"n3": {"cores": 4, "abreast": "n1"}}, r"'n3'.*'cores' to 4, legal are 1 to 3"),
    ({"n3": {"cores": 0, "abreast": "n1"}}, r"'n3'.*'cores' to 0, legal are 1 to 3"),
    ({"n1": {"cores": 3}, "n3": {"cores": 2, "abreast": "n1"}}, r"'n3'.*'cores': 'n1' 3, 'n3' 2, of 4"),
    ({"n2": {"abreast": "n3"}}, r"'n2'.*'abreast' to 'n3': that layer does not come before it"),
]


@pytest.mark.parametrize(("layers", "message"), BAD)
def test_illegal_wishes_name_layer_and_key(layers, message):
    model = prepare(branches(), "mxfp8")
    with pytest.raises(ModelError, match=message):
        build(model, machine(4), edits=entries(**layers))


def test_a_layer_of_another_kind_is_refused():
    with pytest.raises(ModelError, match=r"'n6'.*'n0' is neither a convolution nor a product with weights"):
        build(prepare(heads(), "mxfp8"), machine(4), edits=entries(n6={"abreast": "n0"}))


def test_layers_of_two_formats_and_layers_that_do_not_fit_are_refused():
    body = """g (float[1, 3, 40, 40] x, float[1, 64, 40, 40] z) => (float[1, 8, 40, 40] u, float[1, 64, 40, 40] v) {
      u = Conv <kernel_shape = [7, 7], pads = [3, 3, 3, 3]> (x, w0)
      v = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (z, w1)
    }"""
    model = prepare(named(network(body, 2, w0=(8, 3, 7, 7), w1=(64, 64, 3, 3))), "mxfp8")
    formats = {op.name: op.format for op in build(model, machine(2)).ops}
    assert formats["n0"] != formats["n1"]
    with pytest.raises(ModelError, match=rf"'n1'.*it multiplies in mxfp8, 'n0' in {formats['n0']}"):
        build(model, machine(2), edits=entries(n1={"abreast": "n0"}))
    model = prepare(branches(), None)
    text = build(model, machine(2), edits=entries(n3={"abreast": "n1"})).text
    tight = with_l1(machine(2), 1 << 16)
    with pytest.raises(
        ModelError, match=r"'n1 \| n3'.*do not fit side by side: 'n1' takes [0-9]+, 'n3' takes [0-9]+"
    ):
        build(model, tight, edits=parse(_only(text)))


def _only(text):
    """Who is beside whom, and tiles of n1 and n3 that are too large for both."""
    text = edited(
        edited(text, "n1", rows=5, channels=16, weights="one buffer", cores_split="rows"),
        "n3",
        rows=12,
        channels=24,
        columns=12,
    )
    head, *tables = text.split("[[layer]]")
    return "[[layer]]".join([head, *(t for t in tables if '"n1"' in t or '"n3"' in t or "'n1'" in t)])


# -- who needs whom


class Layer:
    """What `needs` asks of a plan."""

    def __init__(self, reads, writes):
        self._reads, self._writes = reads, writes

    def reads(self):
        return [type("T", (), {"storage": item}) for item in self._reads]

    def writes(self):
        return [type("T", (), {"storage": item}) for item in self._writes]


def test_memory_that_is_written_again_is_waited_for():
    a, b, c = (Storage(name, 4) for name in "abc")
    plans = [Layer([a], [b]), Layer([b], [c]), Layer([a], [b]), Layer([c], [a])]
    # 2 writes what 0 wrote and 1 read; 3 writes what 0 and 2 read, and reads what 1 wrote.
    assert needs(plans) == [0b0, 0b1, 0b11, 0b111]


def test_the_order_of_steps():
    before = [0b0, 0b1, 0b0, 0b100, 0b1010]  # 0 -> 1 -> 4, 2 -> 3 -> 4
    assert order(before, {}) == [0, 1, 2, 3, 4]
    assert order(before, {1: [1, 3]}) == [0, 2, 1, 4]
    assert order(before, {0: [0, 3]}) == [2, 0, 1, 4]
    assert order(before, {0: [0, 1]}) == []
    assert order([0b0, 0b1, 0b0, 0b100], {0: [0, 3], 1: [1, 2]}) == []  # each needs the other
