"""Schedules as text: what is written is read back, edits change tiles and no bit, illegal ones name layer and key."""

import tomllib

import pytest
from networks import network
from running import by_schedule, by_simulator, feeds, same_bits, with_l1
from test_lowering import conv

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import compile_model
from potluck.compiler.schedule.file import parse, read, save
from potluck.isa.elf import Program
from potluck.isa.errors import ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")


def mixed():
    """A convolution, a product of activations, a product with a vector and elementwise layers."""
    return network(
        """g (float[1, 32, 12, 12] x, float[1, 64, 80] z) =>
             (float[1, 48, 12, 12] u, float[1, 64, 64] v, float[1, 96] y) {
          u = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w, b)
          t = Transpose <perm = [0, 2, 1]> (z)
          v = MatMul (z, t)
          m = ReduceMean <keepdims = 0> (z, axis)
          s = Sigmoid (m)
          r = Mul (s, k)
          y = Gemm (r, q, c)
        }""",
        w=(48, 32, 3, 3), b=(48,), k=(80,), q=(80, 96), c=(96,), integers={"axis": [1]},
    )  # fmt: skip


def built(source, text="", machine=MACHINE):
    return build(prepare(source, "mxfp8"), machine, edits=parse(text) if text else ())


def edited(text, name, **values):
    """The text with other values in the tables of a layer."""
    tables = text.split("[[layer]]")
    for index, table in enumerate(tables[1:], 1):
        data = tomllib.loads("[[layer]]" + table)["layer"][0]
        if data["name"] == name:
            data |= values
            lines = [
                f"{key} = {value!r}".replace("True", "true").replace("False", "false")
                for key, value in data.items()
            ]
            tables[index] = "\n" + "\n".join(lines) + "\n"
    return "[[layer]]".join(tables)


EDITS = {
    "fewer rows": ("n0", {"rows": 2}),
    "cores share channels": ("n0", {"rows": 2, "cores_split": "channels", "channels": 16}),
    "strips": ("n0", {"columns": 4, "weights": "again", "channels": 16}),
    "one buffer of weights": ("n0", {"channels": 16, "cores_split": "rows", "weights": "one buffer"}),
    "slices of a product": ("n2", {"rows": 8, "columns": 64}),
    "pieces of a vector's product": ("n6", {"channels": 24, "k": 32}),
    "columns of an elementwise layer": ("n5", {"columns": 33}),
    "nothing early": ("n6", {"prefetch": False}),
}


@pytest.fixture(scope="module")
def plain():
    source = mixed()
    for index, node in enumerate(source.graph.node):
        node.name = f"n{index}"
    schedule = built(source)
    inputs = feeds(schedule)
    return source, schedule, inputs, by_schedule(schedule, inputs)


def test_what_is_written_is_read_back(plain):
    source, schedule, _, _ = plain
    again = built(source, schedule.text)
    assert again.text == schedule.text
    assert [op.tiles for op in again.ops] == [op.tiles for op in schedule.ops]


@pytest.mark.parametrize("name", EDITS)
def test_edits_change_the_tiles_and_no_bit(name, plain):
    source, schedule, inputs, outputs = plain
    layer, values = EDITS[name]
    text = edited(schedule.text, layer, **values)
    changed = built(source, text)
    table = next(item for item in tomllib.loads(changed.text)["layer"] if item["name"] == layer)
    assert {key: table[key] for key in values} == values
    assert [op.tiles for op in changed.ops] != [op.tiles for op in schedule.ops]
    assert same_bits(by_schedule(changed, inputs), outputs)
    assert same_bits(by_simulator(changed, inputs), outputs)


BAD = [
    ("n0", {"rows": 13}, r"'n0'.*'rows' to 13, legal are 1 to 12"),
    ("n0", {"rows": "many"}, r"'n0'.*'rows' to 'many'"),
    ("n0", {"channels": 7}, r"'n0'.*'channels' to 7, legal are 2, 4, 8"),
    ("n0", {"weights": "gone"}, r"'n0'.*'weights'.*\"stay\", \"again\""),
    ("n0", {"row": 1}, r"'n0'.*'row', this layer has rows, columns"),
    ("n0", {"prefetch": 1}, r"'n0'.*'prefetch' to 1, legal are true and false"),
    ("n6", {"k": 40}, r"'n6'.*'k' to 40, legal are 32, 64, 96"),
    ("n6", {"channels": 12}, r"'n6'.*'channels' to 12, legal are 8 to 96 in steps of 8"),
    ("n0", {"op": "MatMul"}, r"'n0'.*its op is 'MatMul', it is 'Conv'"),
]


@pytest.mark.parametrize(("layer", "values", "message"), BAD)
def test_illegal_edits_name_layer_and_key(layer, values, message, plain):
    source, schedule, _, _ = plain
    with pytest.raises(ModelError, match=message):
        built(source, edited(schedule.text, layer, **values))


def test_tiles_that_do_not_fit_are_refused():
    source, machine = conv((1, 64, 30, 30), 64, (3, 3)), with_l1(MACHINE, 1 << 16)
    name = built(source, machine=machine).ops[0].name
    text = built(source, machine=machine).text
    name = next(item["name"] for item in tomllib.loads(text)["layer"] if item["op"] == "Conv")
    with pytest.raises(
        ModelError, match=rf"{name}.*rows = 28.*buffers take [0-9]+ bytes, of which there are [0-9]+"
    ):
        built(source, edited(text, name, rows=28), machine)


def test_layers_that_are_not_there_are_refused(plain):
    source = plain[0]
    with pytest.raises(ModelError, match=r"'n9'.*no such layer.*near is 'n"):
        built(source, 'version = 1\n[[layer]]\nname = "n9"\n')
    with pytest.raises(ModelError, match=r"'n6'.*2 layers of this name, the network 1"):
        built(source, 'version = 1\n[[layer]]\nname = "n6"\n[[layer]]\nname = "n6"\n')


@pytest.mark.parametrize(
    "text", ["layer = 3\nversion = 1", "version = 2", "version = ", "version = 1\nother = 2"]
)
def test_what_is_no_schedule_is_refused(text):
    with pytest.raises(ModelError, match="schedule"):
        parse(text)


def test_files(plain, tmp_path):
    source, schedule, _, _ = plain
    path = tmp_path / "s.toml"
    program = compile_model(source, MACHINE, "mxfp8", schedule_out=path)
    assert path.read_text() == schedule.text and [item.name for item in tmp_path.iterdir()] == ["s.toml"]
    save(edited(schedule.text, "n0", rows=2), path)
    assert len(read(path)) == len(schedule.ops)
    other = compile_model(source, MACHINE, "mxfp8", schedule=path)
    assert other.save(tmp_path / "o.elf") is None and isinstance(program, Program)
    assert len(other.manifest.layers) == len(program.manifest.layers)


def test_memory_is_told_beside_its_lower_bound():
    """Input and output live from start to end, and two more activations while the second product runs."""
    source = network(
        """g (float[64, 64] x) => (float[64, 64] y) {
          a = MatMul (x, w)
          c = MatMul (a, w)
          y = MatMul (c, w)
        }""",
        w=(64, 64),
    )
    size = 64 * 64 * 4
    memory = build(prepare(source), MACHINE).memory
    assert memory["dram_live"] == 4 * size and memory["dram_activations"] == 4 * size
    assert memory["l1_live"] <= memory["l1_peak"] <= MACHINE.memory.l1_bytes
    assert memory["l1_live"] >= size  # the weights stay
    program = compile_model(source, MACHINE)
    assert program.manifest.memory == memory
