import itertools

import numpy as np
import pytest
from networks import conv_bn, network, residual
from running import by_reference, by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.compile import compile_model
from potluck.compiler.quantize import quantize_model
from potluck.compiler.support import UnsupportedError
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError, ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")


def test_one_error_lists_every_unsupported_node():
    source = network(
        """g (float[1, 4, 6, 6] x, int64[1] count) => (float[1, 4, 2, 6] y, int64[1, 4, 2, 6] i, int64[4, n] b) {
          [odd] a = RandomNormalLike (x)
          [fine] c = Relu (a)
          [ragged] b = NonZero (c)
          [largest] y, i = TopK <axis = 2> (c, count)
        }""",
    )
    with pytest.raises(ModelError) as caught:
        compile_model(source, MACHINE)
    error = caught.value
    assert isinstance(error, UnsupportedError)
    assert [item.node for item in error.unsupported] == ["odd", "ragged", "largest"]
    text = str(error)
    for line in (
        "3 nodes cannot be compiled",
        "odd (RandomNormalLike): the operator RandomNormalLike has no kernel",
        "ragged (NonZero): the operator NonZero has no kernel",
        "largest (TopK): its K is computed at run time, only constants are taken: see --bind",
    ):
        assert line in text, line


@pytest.mark.parametrize("scheme", [None, "fp32"])
def test_the_manifest_names_layers_buffers_and_tensors(scheme):
    program = compile_model(residual(), MACHINE, scheme)
    manifest = program.manifest
    assert [tensor.name for tensor in manifest.inputs] == ["x"]
    x = manifest.inputs[0]
    assert (x.shape, x.layout, x.bytes, x.dtype) == ([1, 3, 8, 8], "NHWC", 768, "float32")
    assert (manifest.outputs[0].shape, manifest.outputs[0].layout) == ([1, 10], "row")
    text = next(section for section in program.sections if section.executable)
    layers = manifest.layers
    assert [layer.op for layer in layers].count("Conv") == 4
    for before, layer in itertools.pairwise(layers):
        assert before.start < before.end == layer.start
    assert text.address < layers[0].start and layers[-1].end <= text.address + len(text.data)
    assert layers[0].macs == 8 * 8 * 27 * 16
    weights = {buffer.tensor: buffer for buffer in manifest.buffers}
    assert weights["w0"].format == "FP32" and weights["w0"].shape == [3, 3, 3, 16]
    data = next(section for section in program.sections if section.name == ".data")
    at = weights["w0"].address - data.address
    values = np.frombuffer(data.data[at : at + weights["w0"].bytes], np.float32)
    source = {t.name: t for t in residual().graph.initializer}["w0"]
    expected = np.frombuffer(source.raw_data, np.float32).reshape(16, 3, 3, 3)
    np.testing.assert_array_equal(values.reshape(3, 3, 3, 16), expected.transpose(2, 3, 1, 0))


def test_the_program_is_the_same_every_time():
    first, second = (compile_model(conv_bn(), MACHINE, "fp32", dims={"batch": 2}) for _ in range(2))
    assert [s.data for s in first.sections] == [s.data for s in second.sections]
    assert first.manifest == second.manifest


def test_loops_stay_loops():
    """Twice the rows make more tiles, not more code."""

    def text(height):
        source = network(
            f"""g (float[1, 16, {height}, 32] x) => (float[1, 32, {height}, 32] y) {{
              y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
            }}""",
            w=(32, 16, 3, 3),
        )
        program = compile_model(source, MACHINE)
        tiles = len(build(prepare(source), MACHINE).ops[0].tiles)
        return tiles, len(next(s.data for s in program.sections if s.executable))

    (few, small), (many, large) = text(64), text(512)
    assert many > 4 * few
    assert abs(large - small) < 100  # immediates of different length


def test_print_after_schedule():
    shown = []
    compile_model(residual(), MACHINE, "fp32", print_after=["schedule"], write=shown.append)
    assert len(shown) == 1 and "tile image 0 rows 0+" in shown[0]


def test_e5m2_needs_a_machine_with_vmxdotp():
    plain = load_machine("spatz-mx", {"isa.vmxdotp": False, "cluster.cores": 1})
    for scheme in ("fp32", "mxfp8", "mxfp4"):
        compile_model(residual(), plain, scheme)
    with pytest.raises(MachineError, match="VMXDOTP"):
        compile_model(residual(), plain, "mxfp8_e5m2")


def test_networks_need_the_dma_opcodes():
    custom = load_machine("spatz-mx", {"isa.vmxdotp_encoding": "custom"})
    with pytest.raises(MachineError, match="takes the opcodes of the DMA"):
        compile_model(residual(), custom, "fp32")


@pytest.mark.parametrize("scheme", ["fp32", "mxfp8", "mxfp4"])
def test_a_saved_quantized_model_compiles_to_the_same_program(scheme, tmp_path):
    model = quantize_model(residual(), scheme)
    model.save(tmp_path / "q.onnx")
    direct, saved = compile_model(residual(), MACHINE, scheme), compile_model(tmp_path / "q.onnx", MACHINE)
    assert [s.data for s in direct.sections] == [s.data for s in saved.sections]
    assert direct.manifest == saved.manifest
    saved.save(tmp_path / "q.elf")
    again = Program.load(tmp_path / "q.elf")
    assert again.manifest == saved.manifest
    assert again.entry == saved.entry


def test_an_mx_tensor_that_others_read_has_values():
    """A quantized activation that is an output, too, is rounded to MX values; its products take these."""
    model = quantize_model(residual(), "mxfp8")
    node = next(node for node in model.graph if node.op_type == "MxQuantizeDequantize")
    model.graph.outputs.append(node.outputs[0])
    schedule = build(prepare(model), MACHINE)
    inputs = feeds(schedule)
    got, expected = by_schedule(schedule, inputs), by_reference(schedule, inputs)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-6, atol=0.3)
    assert same_bits(by_simulator(schedule, inputs), got)
