"""Nodes that the machine leaves to its host: the whole network against onnxruntime and onnx's reference."""

import base64
import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from networks import network
from running import by_schedule, by_simulator, feeds, same_bits
from typer.testing import CliRunner

from potluck import api
from potluck.benchmarks.conformance.cases import cases
from potluck.benchmarks.conformance.page import read
from potluck.benchmarks.conformance.running import difference
from potluck.cli import app
from potluck.compiler.build import build, prepare
from potluck.compiler.compile import compile_model
from potluck.compiler.host import HostNetwork
from potluck.compiler.support import UnsupportedError, unsupported
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import ModelError, ProgramError, TrapError
from potluck.isa.host import HOST_CALL
from potluck.isa.machine import load_machine
from potluck.isa.manifest import HostNode, Manifest
from potluck.sim.simulate import simulate

MACHINE = load_machine("spatz-mx")
GRID = np.random.default_rng(3).uniform(-1, 1, (1, 5, 6, 2)).astype(np.float32)


def with_constant(model, name, array):
    """The model with an initializer more."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def sampled():
    """Convolutions around GridSample, whose grid is a constant, with channels enough for MX blocks."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 20]>
        g (float[1, 32, 6, 7] x) => (float[1, 8, 5, 6] y) <float[1, 5, 6, 2] grid> {
          a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
          r = Relu (a)
          [sample] s = GridSample <align_corners = 1, padding_mode = "border"> (r, grid)
          y = Conv <kernel_shape = [1, 1]> (s, v)
        }""")
    rng = np.random.default_rng(0)
    for name, shape in {"w": (32, 32, 3, 3), "v": (8, 32, 1, 1)}.items():
        weights = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        with_constant(model, name, weights.astype(np.float32))
    return with_constant(model, "grid", GRID)


EXACT = {
    "middle": """g (float[2, 3, 4, 4] x) => (float[2, 3] y) {
      a = Relu (x)  [host] d = Det (a)  y = Neg (d)
    }""",
    "first": "g (float[2, 3, 4, 4] x) => (float[2, 3] y) { [host] d = Det (x)  y = Abs (d) }",
    "last": "g (float[2, 3, 4, 4] x) => (float[2, 3] y) { a = Neg (x)  [host] y = Det (a) }",
    "all": "g (float[2, 3, 4, 4] x) => (float[2, 3] y) { [host] y = Det (x) }",
    "two in a row": """g (float[1, 2, 5, 5] x, float[1, 3, 3, 2] p, float[1, 2, 4, 2] q) => (float[1, 2, 2, 4] y) {
      a = Neg (x)  [one] s = GridSample (a, p)  [two] t = GridSample <mode = "nearest"> (s, q)  y = Relu (t)
    }""",
    "one input twice": """g (float[1, 5, 7, 2] x) => (float[1, 5, 7, 2] y) {
      t = Transpose <perm = [0, 3, 1, 2]> (x)  [host] s = GridSample (t, x)
      y = Transpose <perm = [0, 2, 3, 1]> (s)
    }""",
}


def on_host(model, **options):
    """A schedule with its host nodes."""
    prepared = prepare(model, allow_host=True, **options)
    return build(prepared, MACHINE, allow_host=True)


def by_onnxruntime(model, inputs):
    """The network as it was given."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


@pytest.mark.parametrize("name", EXACT)
def test_a_network_around_host_nodes_is_onnxruntimes(name):
    model = network(EXACT[name])
    schedule = on_host(model)
    inputs = feeds(schedule)
    got = by_simulator(schedule, inputs)
    assert same_bits(by_schedule(schedule, inputs), got)
    assert same_bits(got, by_onnxruntime(model, inputs))
    assert same_bits(by_simulator(schedule, inputs, timed=True), got)


def test_one_node_with_two_outputs_and_an_empty_input():
    """Unique gives tensors of computed shape; here the graph states them, and the middle output is not asked for."""
    model = network(
        """g (float[6] x) => (float[6] y, int64[6] z) {
          n = Neg (x)  [host] u, first, inverse = Unique <sorted = 1> (n)
          y = Abs (u)  z = Identity (inverse)
        }"""
    )
    for name in ("u", "inverse"):
        kind = onnx.TensorProto.FLOAT if name == "u" else onnx.TensorProto.INT64
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, kind, [6]))
    schedule = on_host(model)
    inputs = {"x": np.array([3, -1, 4, 1.5, -9, 2], np.float32)}
    got, expected = by_simulator(schedule, inputs), by_onnxruntime(model, inputs)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    same = {
        "x": np.array([3, -1, 3, 1.5, -9, 2], np.float32)
    }  # five values: not what the program has room for
    with pytest.raises(
        TrapError, match=r"host node 'host' \(Unique\) made 'u' float32 \[5\], expected float32 \[6\]"
    ):
        by_simulator(schedule, same)


def test_images_stay_channels_last_around_a_host_node():
    schedule = on_host(sampled())
    (node,) = [op.kernel.node for op in schedule.ops if op.format == "host"]
    assert [item.layout for item in (*node.inputs, *node.outputs)] == ["NHWC", "NHWC"]
    assert [op.op for op in schedule.ops] == ["Conv", "GridSample", "Conv"]
    inputs = feeds(schedule)
    got = by_simulator(schedule, inputs)
    assert same_bits(by_schedule(schedule, inputs), got)
    np.testing.assert_allclose(got[0], by_onnxruntime(sampled(), inputs)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["mxfp8", "int8"])
def test_neighbours_of_a_host_node_are_quantized(scheme):
    options = {}
    if scheme == "int8":
        options["calibration"] = {
            "x": np.random.default_rng(1).standard_normal((8, 32, 6, 7)).astype(np.float32)
        }
    schedule = on_host(sampled(), scheme=scheme, **options)
    formats = {op.name: op.format for op in schedule.ops}
    assert formats["sample"] == "host" and sum(scheme in name for name in formats.values()) >= 2, formats
    inputs = feeds(schedule)
    got = by_simulator(schedule, inputs)
    assert same_bits(by_schedule(schedule, inputs), got)
    expected = HostNetwork(schedule.model).run(inputs)["y"]
    np.testing.assert_allclose(got[0], expected, rtol=0, atol=0.05 * np.abs(expected).max())
    if scheme == "mxfp8":
        np.testing.assert_allclose(got[0], expected, rtol=1e-5, atol=1e-5)


def test_a_saved_program_takes_its_host_nodes_along(tmp_path):
    model = sampled()
    program = compile_model(model, MACHINE, allow_host=True)
    program.save(tmp_path / "p.elf")
    again = Program.load(tmp_path / "p.elf")
    assert again.manifest == program.manifest
    inputs = api.seeded_inputs(again)
    result = api.simulate(again, inputs)
    np.testing.assert_allclose(result.outputs["y"], by_onnxruntime(model, inputs)[0], rtol=1e-4, atol=1e-5)
    reason = "the operator GridSample has no kernel"
    assert result.manifest["host_nodes"] == [{"name": "sample", "op": "GridSample", "reason": reason}]
    assert result.manifest["nodes"] == 3  # Relu is part of its Conv
    layer = next(item for item in result.layers if item.name == "sample")
    assert layer.macs == 0 and layer.cycles == sum(layer.stalls.values())
    held = onnx.load_from_string(base64.b64decode(again.manifest.host[0].model))
    assert [node.op_type for node in held.graph.node] == ["GridSample"]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(held.graph.initializer[0]), GRID)
    assert [item.name for item in held.graph.input] == [item.name for item in again.manifest.host[0].inputs]


def test_every_mode_and_a_trace_see_the_call():
    program = compile_model(sampled(), MACHINE, allow_host=True)
    inputs = api.seeded_inputs(program)
    timed, functional, traced = (
        api.simulate(program, inputs, mode) for mode in ("timed", "functional", "traced")
    )
    assert timed.cycles == traced.cycles and timed.manifest == functional.manifest == traced.manifest
    assert same_bits([timed.outputs["y"]], [functional.outputs["y"]])
    assert same_bits([timed.outputs["y"]], [traced.outputs["y"]])


def test_a_loop_goes_to_the_host_with_its_body():
    """A loop whose end is computed; what it reads from around it goes along."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 20]>
        g (int64[1] n, float[4] x) => (float[4] y) <float[4] step = {1, 2, 3, 4}> {
          count = Squeeze (n)
          r = Relu (x)
          [turns] l = Loop (count, , r) <body = b (int64 i, bool go, float[4] s) => (bool same, float[4] t) {
            same = Identity (go)
            u = Add (s, step)
            t = Mul (u, x)
          }>
          y = Neg (l)
        }""")
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("l", onnx.TensorProto.FLOAT, [4]))
    program = compile_model(model, MACHINE, allow_host=True)
    inputs = {"n": np.array([3]), "x": np.array([0.5, -1, 2, 0.25], np.float32)}
    got = api.simulate(program, inputs).outputs["y"]
    assert same_bits([got], by_onnxruntime(model, inputs))


def test_without_the_flag_nodes_are_refused_as_ever():
    with pytest.raises(
        UnsupportedError, match=r"sample \(GridSample\): the operator GridSample has no kernel\n"
    ) as it:
        compile_model(sampled(), MACHINE)
    assert "--allow-host" in str(it.value)
    prepared = prepare(sampled(), allow_host=True)
    assert [item.node for item in unsupported(prepared)] == ["sample"]  # on no machine, whoever computes it
    with pytest.raises(UnsupportedError, match="sample"):
        build(prepared, MACHINE)


@pytest.mark.parametrize(
    "text, why",
    [
        ("float[4] x) => (int64[1, n] y) { [odd] y = NonZero (x) }", "which is not static"),
        ("float[4] x) => (float[4] y) { [odd] y = RandomNormalLike (x) }", "other values with every run"),
        (
            "string[4] x) => (string[4] y) { [odd] y = StringNormalizer (x) }",
            "'x' is of type .*no place in memory",
        ),
        (
            "float[2, 3] x) => (float[2, 3] y) { [odd] s = Optional (x)  [out] y = OptionalGetElement (s) }",
            "'s' is of type .*no place in memory",
        ),
    ],
)
def test_what_the_host_cannot_run_either_is_refused_by_name(text, why):
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> g ({text}')
    with pytest.raises(UnsupportedError, match=why) as caught:
        compile_model(model, MACHINE, allow_host=True)
    assert "odd" in str(caught.value) and "has no kernel; nor can the host run it" in str(caught.value)
    assert "--allow-host" not in str(caught.value)


def refused_cases():
    """ONNX's node cases that the machine does not take, by operator."""
    every, (rows, _) = cases(), read((Path(__file__).parents[2] / "docs" / "conformance.md").read_text())
    return [every[name] for name, row in rows.items() if row.status == "refused"]


def check_case(case):
    """A case that the machine refuses has ONNX's own outputs on the host, or is refused again for a good reason.

    Returns:
        Whether the host computed something of it.
    """
    problem = ""
    for names in dict.fromkeys(((), case.constants)):
        try:
            bind = {name: case.inputs[name] for name in names}
            program = compile_model(case.model, MACHINE, bind=bind, allow_host=True)
        except ModelError as error:
            problem = str(error)
            continue
        known = {tensor.name for tensor in program.manifest.inputs}
        inputs = {name: array for name, array in case.inputs.items() if name in known}
        result = api.simulate(program, inputs, "functional")
        wrong = difference(case, result.outputs)
        assert not wrong, f"{case.name}: {wrong}"
        return "host_nodes" in result.manifest
    good = ("not static", "other values with every run", "newer than opset 24", "Scan is that of opset 8")
    assert any(why in problem for why in good), f"{case.name}: {problem}"
    return False


def test_a_sample_of_what_the_machine_refuses_is_onnx_on_the_host():
    rng, chosen, seen = np.random.Generator(np.random.Philox(9)), [], set()
    for index in rng.permutation(len(every := refused_cases())):
        if every[index].op not in seen:
            seen.add(every[index].op)
            chosen.append(every[index])
    done = [check_case(case) for case in chosen]
    assert sum(done) >= len(done) // 2, "operators that the host runs"


@pytest.mark.slow
def test_all_that_the_machine_refuses_is_onnx_on_the_host():
    assert sum(check_case(case) for case in refused_cases()) >= 80


def test_an_operator_of_nobody_is_refused():
    model = network(EXACT["middle"])
    model.graph.node[1].domain = "of.nobody"
    model.opset_import.append(onnx.helper.make_opsetid("of.nobody", 1))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("d", onnx.TensorProto.FLOAT, [2, 3]))
    with pytest.raises(UnsupportedError, match=r"host \(of\.nobody\.Det\): .* no meaning on the host"):
        compile_model(model, MACHINE, allow_host=True)


def test_linux_programs_have_no_host():
    why = "sample.*run on Linux too, where nobody answers a host call"
    with pytest.raises(UnsupportedError, match=why):
        compile_model(sampled(), load_machine("rvv-generic"), allow_host=True)


def bare(index, nodes=()):
    """A hand-written program that makes one host call."""
    a = Assembler()
    a.text(f"_start: bnez a0, over\n li a7, {HOST_CALL}\n li a0, {index}\n call: ecall")
    a.text("over: li a7, 93\n li a0, 0\n ecall")
    return a.assemble(text_base=0x8000_0000).program(Manifest(host=list(nodes)), [])


def test_a_call_for_a_node_that_is_not_listed_traps():
    with pytest.raises(TrapError, match="host call for node 0, but the manifest lists 0") as caught:
        api.simulate(bare(0), machine="spatz-mx")
    assert caught.value.pc == bare(0).symbols["call"]
    program = compile_model(sampled(), MACHINE, allow_host=True)
    for index in (1, -1):
        with pytest.raises(TrapError, match=f"host call for node {index}, but the manifest lists 1"):
            api.simulate(bare(index, program.manifest.host), machine="spatz-mx")


def test_a_call_that_nobody_answers_traps():
    program = compile_model(sampled(), MACHINE, allow_host=True)
    with pytest.raises(TrapError, match=r"node 'sample' \(GridSample\), and nobody answers it") as caught:
        simulate(program, api.seeded_inputs(program), MACHINE)
    assert caught.value.layer == "sample" and "potluck.simulate" in caught.value.hint


def test_a_damaged_host_node_is_named():
    (node,) = compile_model(sampled(), MACHINE, allow_host=True).manifest.host
    for model in ("no base64", base64.b64encode(b"no model at all").decode(), ""):
        with pytest.raises(TrapError, match="host node 'sample'"):
            api.simulate(bare(0, [dataclasses.replace(node, model=model)]), machine="spatz-mx")
    for address, why in ((0x10, "outside L1 and DRAM"), (0x8000_0000, "written into the program's text")):
        (y,) = node.outputs
        elsewhere = dataclasses.replace(node, outputs=[dataclasses.replace(y, address=address)])
        with pytest.raises(TrapError, match=why):
            api.simulate(bare(0, [elsewhere]), machine="spatz-mx")


def test_the_manifest_checks_host_nodes():
    (node,) = compile_model(sampled(), MACHINE, allow_host=True).manifest.host
    good = Manifest(host=[node])
    assert Manifest.from_json(good.to_json()) == good
    assert Manifest.from_json('{"version": 1}').host == []
    wrong = dataclasses.replace(node.outputs[0], shape=[-1])
    for bad, key in (
        (HostNode("n", "o", "r", "m", [], [wrong]), r"host\[0\]\.outputs\[0\]\.shape"),
        (dataclasses.replace(node, name=3), r"host\[0\]\.name"),
        (dataclasses.replace(node, inputs=7), r"host\[0\]\.inputs is not a list"),
    ):
        with pytest.raises(ProgramError, match=key):
            Manifest.from_json(Manifest(host=[bad]).to_json())


def test_the_command_line_counts_host_nodes(tmp_path):
    onnx.save(sampled(), tmp_path / "m.onnx")
    runner = CliRunner()
    refused = runner.invoke(app, ["run", str(tmp_path / "m.onnx")])
    assert refused.exit_code != 0
    done = runner.invoke(
        app, ["run", str(tmp_path / "m.onnx"), "--allow-host", "--json", str(tmp_path / "r.json")]
    )
    assert done.exit_code == 0, done.output
    assert "1 of 3 nodes ran on the host" in done.output
    assert '"host_nodes"' in (tmp_path / "r.json").read_text()
    made = runner.invoke(
        app,
        [
            "compile",
            str(tmp_path / "m.onnx"),
            "--allow-host",
            "--scheme",
            "mxfp8",
            "-o",
            str(tmp_path / "m.elf"),
        ],
    )
    assert made.exit_code == 0 and "nodes left to the host" in made.output
