"""Files by the conventions of other tools, against what these conventions say, and onnxruntime for its own."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from running import by_schedule, by_simulator, feeds, same_bits

from potluck.compiler.build import build, prepare
from potluck.compiler.quantize import import_gguf
from potluck.isa.errors import DataError, ModelError
from potluck.isa.machine import load_machine

MACHINE = load_machine("spatz-mx")
DOMAINS = ("com.amd.quark", "trt", "com.microsoft")
EMAX = {"fp8_e4m3": 8, "fp8_e5m2": 15, "fp6_e2m3": 2, "fp6_e3m2": 4, "fp4_e2m1": 2, "int8": 0}
TYPES = {
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
}
RNG = np.random.default_rng(5)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def model(nodes, inputs, outputs, initializers, opset=21):
    """A file of these parts; initializers are arrays, or TensorProtos."""
    infos = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
             for side in (inputs, outputs)]  # fmt: skip
    tensors = [value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(value, name)
               for name, value in initializers.items()]  # fmt: skip
    for tensor, name in zip(tensors, initializers, strict=True):
        tensor.name = name
    graph = helper.make_graph(nodes, "g", *infos, tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in DOMAINS)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def fake(x, element, axis, rule="floor", away=False):
    """Quantized and dequantized, in blocks of 32, by the definitions and ml_dtypes' conversions."""
    rows = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    out = np.zeros_like(rows)
    for start in range(0, rows.shape[-1], 32):
        block = rows[..., start : start + 32]
        top = np.abs(block).max(-1, keepdims=True)
        largest = 127 / 64 if element == "int8" else float(ml_dtypes.finfo(TYPES[element]).max)
        exponent = (
            np.floor(np.log2(top)) - EMAX[element] if rule == "floor" else np.ceil(np.log2(top / largest))
        )
        scaled = np.clip(block / 2.0**exponent, -largest, largest)
        if element == "int8":
            away_from_zero = np.copysign(np.floor(np.abs(scaled) * 64 + 0.5), scaled)
            codes = (away_from_zero if away else np.rint(scaled * 64)) / 64
        elif away:
            codes = half_away(scaled, element)
        else:
            codes = scaled.astype(np.float32).astype(TYPES[element]).astype(np.float64)
        out[..., start : start + 32] = np.clip(codes, -largest, largest) * 2.0**exponent
    return np.moveaxis(out, -1, axis).astype(np.float32)


def half_away(x, element):
    """Round to the nearest value of a format, ties to the larger magnitude, by looking at all of them."""
    bits = ml_dtypes.finfo(TYPES[element]).bits
    values = np.arange(1 << bits, dtype=np.uint8).view(TYPES[element]).astype(np.float64)
    values = np.unique(np.abs(values[np.isfinite(values)]))
    distance = np.abs(np.abs(x)[..., None] - values)
    nearest = len(values) - 1 - np.argmin(distance[..., ::-1], axis=-1)
    return np.copysign(values[nearest], x)


def outputs_of(proto, expect_ops=()):
    """Outputs by the kernels' contracts and the simulator, with the inputs."""
    prepared = prepare(proto)
    left = {node.op_type for node in prepared.graph}
    assert set(expect_ops) <= left, left
    schedule = build(prepared, MACHINE)
    inputs = feeds(schedule)
    got = by_schedule(schedule, inputs)
    assert same_bits(by_simulator(schedule, inputs), got)
    return inputs, got, schedule


@pytest.mark.parametrize("element", EMAX)
def test_quark(element):
    """MXQuantizeDequantize of activations, weights (half away from zero, its default), biases and outputs."""
    weight, bias = normal(24, 40), normal(24)
    weight[0, :4] = [1.5625, 1.28125, 1.4375, 3.9]  # ties
    nodes = [
        helper.make_node("MXQuantizeDequantize", [name], [f"{name}q"], name=f"q{name}", domain="com.amd.quark",
                         element_dtype=element, axis=axis, block_size=32, rounding_mode=mode)
        for name, axis, mode in (("x", 1, 2), ("w", 1, 0), ("b", 0, 2), ("r", 1, 2))
    ]  # fmt: skip
    nodes.insert(3, helper.make_node("Gemm", ["xq", "wq", "bq"], ["h"], name="gemm", transB=1))
    nodes.insert(4, helper.make_node("Relu", ["h"], ["r"], name="relu"))
    proto = model(nodes, {"x": [6, 40]}, {"rq": [6, 24]}, {"w": weight, "b": bias})
    inputs, (got,), schedule = outputs_of(proto)
    x = fake(inputs["x"], element, 1).astype(np.float64)
    product = x @ fake(weight, element, 1, away=True).astype(np.float64).T + fake(bias, element, 0)
    relu = np.maximum(product, 0).astype(np.float32)
    want = fake(relu, element, 1)
    step = np.abs(want).max() * 2.0 ** -{"fp4_e2m1": 1, "int8": 6}.get(element, 2)
    assert (np.abs(got - want) <= step).all() and (
        np.abs(got - want) > 1e-6 * np.abs(want).max()
    ).mean() < 0.05
    formats = {op.format for op in schedule.ops if op.macs}
    assert formats == {
        "mx" + element.split("_")[0] + {"fp8_e5m2": "_e5m2", "fp6_e3m2": "_e3m2"}.get(element, "")
    }


def test_quarks_conv_and_old_name():
    weight = normal(16, 32, 3, 3)
    attributes = {"element_dtype": "fp8_e4m3", "axis": 1, "block_size": 32, "rounding_mode": 2}
    nodes = [
        helper.make_node("MXFixNeuron", ["x"], ["xq"], name="qx", domain="com.vai.quantize", **attributes),
        helper.make_node("MXFixNeuron", ["w"], ["wq"], name="qw", domain="com.vai.quantize", **attributes),
        helper.make_node("Conv", ["xq", "wq"], ["y"], name="conv", pads=[1, 1, 1, 1]),
    ]
    proto = model(nodes, {"x": [1, 32, 6, 5]}, {"y": [1, 16, 6, 5]}, {"w": weight})
    proto.opset_import.append(helper.make_opsetid("com.vai.quantize", 1))
    inputs, (got,), _ = outputs_of(proto, ["MxQuantizeDequantize"])
    plain = model(nodes[2:], {"xq": [1, 32, 6, 5], "wq": [16, 32, 3, 3]}, {"y": [1, 16, 6, 5]}, {})
    feed = {"xq": fake(inputs["x"], "fp8_e4m3", 1), "wq": fake(weight, "fp8_e4m3", 1)}
    want = onnxruntime.InferenceSession(plain.SerializeToString()).run(None, feed)[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_quark_says_what_it_cannot_translate():
    def one(**attributes):
        node = helper.make_node(
            "MXQuantizeDequantize", ["w"], ["wq"], name="q", domain="com.amd.quark", **attributes
        )
        nodes = [node, helper.make_node("MatMul", ["x", "wq"], ["y"], name="m")]
        return model(nodes, {"x": [2, 32]}, {"y": [2, 8]}, {"w": normal(32, 8)})

    with pytest.raises(ModelError, match=r"'q'.*fp7"):
        prepare(one(element_dtype="fp7"))
    with pytest.raises(ModelError, match=r"'q'.*rounding_mode 1"):
        prepare(one(element_dtype="int8", axis=0, rounding_mode=1))


def test_modelopt_mxfp8():
    """Dynamic activations (rceil), weights as codes with uint8 scales along their last axis, transposed."""
    weight = normal(24, 64)
    top = np.abs(weight.reshape(24, 2, 32)).max(-1)
    scales = (np.ceil(np.log2(top / 448)) + 127).astype(np.uint8)
    steps = np.repeat(2.0 ** (scales.astype(np.float64) - 127), 32, 1)
    codes = (weight / steps).astype(np.float32).astype(ml_dtypes.float8_e4m3fn)
    attributes = {"domain": "trt", "axis": -1, "block_size": 32}
    nodes = [
        helper.make_node(
            "TRT_MXFP8DynamicQuantize", ["x"], ["xc", "xs"], name="dq", output_dtype=17, **attributes
        ),
        helper.make_node(
            "TRT_MXFP8DequantizeLinear", ["xc", "xs"], ["xq"], name="xdq", output_dtype=1, **attributes
        ),
        helper.make_node(
            "TRT_MXFP8DequantizeLinear", ["w", "ws"], ["wq"], name="wdq", output_dtype=1, **attributes
        ),
        helper.make_node("Transpose", ["wq"], ["wt"], name="t", perm=[1, 0]),
        helper.make_node("MatMul", ["xq", "wt"], ["y"], name="m"),
    ]
    packed = helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [24, 64], codes.tobytes(), raw=True)
    proto = model(nodes, {"x": [6, 64]}, {"y": [6, 24]}, {"w": packed, "ws": scales})
    inputs, (got,), schedule = outputs_of(proto, ["MxQuantizeDequantize"])
    want = fake(inputs["x"], "fp8_e4m3", 1, "rceil").astype(np.float64) @ (codes.astype(np.float64) * steps).T
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert {op.format for op in schedule.ops if op.macs} == {"mxfp8"}


def nvfp4(x, factor):
    """Codes, E4M3 scales and values along the last axis."""
    blocks = x.reshape(*x.shape[:-1], -1, 16)
    scales = np.minimum(np.abs(blocks).max(-1) / np.float32(6) / factor, 448).astype(ml_dtypes.float8_e4m3fn)
    steps = (scales.astype(np.float32) * factor)[..., None]
    codes = np.clip(blocks / steps, -6, 6).astype(ml_dtypes.float4_e2m1fn)
    return codes.reshape(x.shape), scales, (codes.astype(np.float32) * steps).reshape(x.shape)


def test_modelopt_nvfp4():
    """Dynamic activations by TRT_FP4DynamicQuantize and two DequantizeLinear, weights by two of constants."""
    weight = normal(24, 64)
    factor, whole = np.float32(np.abs(weight).max() / (6 * 448)), np.float32(4 / (6 * 448))
    codes, scales, values = nvfp4(weight, factor)
    blocked = {"axis": -1, "block_size": 16}
    nodes = [
        helper.make_node("TRT_FP4DynamicQuantize", ["x", "t"], ["xc", "xs"], name="dq", domain="trt", scale_type=17,
                         **blocked),
        helper.make_node("DequantizeLinear", ["xs", "t"], ["xsv"], name="xs1"),
        helper.make_node("DequantizeLinear", ["xc", "xsv"], ["xq"], name="xs2", **blocked),
        helper.make_node("DequantizeLinear", ["ws", "wt"], ["wsv"], name="ws1"),
        helper.make_node("DequantizeLinear", ["w", "wsv"], ["wq"], name="ws2", **blocked),
        helper.make_node("Transpose", ["wq"], ["wqt"], name="t", perm=[1, 0]),
        helper.make_node("MatMul", ["xq", "wqt"], ["y"], name="m"),
    ]  # fmt: skip
    tensors = {
        "w": numpy_helper.from_array(codes, "w"),
        "ws": numpy_helper.from_array(scales, "ws"),
        "wt": np.array(factor),
        "t": np.array(whole),
    }
    proto = model(nodes, {"x": [6, 64]}, {"y": [6, 24]}, tensors, opset=23)
    inputs, (got,), schedule = outputs_of(proto, ["NvQuantizeDequantize"])
    want = nvfp4(inputs["x"], whole)[2].astype(np.float64) @ values.astype(np.float64).T
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert any("FLOAT4E2M1" in operand.format for op in schedule.ops for operand in op.operands)


@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (4, False), (8, True)])
@pytest.mark.parametrize(("k", "block"), [(64, 32), (72, 16)])
def test_matmul_nbits_of_onnxruntimes_quantizer(bits, symmetric, k, block):
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], name="m")]
    plain = model(nodes, {"x": [3, k]}, {"y": [3, 20]}, {"w": normal(k, 20)})
    quantizer = MatMulNBitsQuantizer(plain, block_size=block, is_symmetric=symmetric, bits=bits)
    quantizer.process()
    proto = quantizer.model.model
    assert [node.op_type for node in proto.graph.node] == ["MatMulNBits"]
    inputs, (got,), schedule = outputs_of(proto)
    want = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, inputs)[0]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    stored = {operand.format for op in schedule.ops for operand in op.operands if operand.role == "weights"}
    if symmetric:
        assert "FP32" in stored  # scales and bias, but codes are not
        assert any("INT4" in name or name == "INT8" for name in stored)


def test_matmul_nbits_with_zero_points_and_bias():
    """Two bits, zero points as numbers, a bias; against the definition, as onnxruntime has no such kernel here."""
    k, n, block = 64, 12, 16
    codes, zeros = RNG.integers(0, 4, (n, k)).astype(np.uint8), RNG.integers(0, 4, (n, 4)).astype(np.float32)
    scales, bias = np.abs(normal(n, 4)), normal(n)
    packed = codes.reshape(n, 4, 4, 4)
    packed = (packed << np.array([0, 2, 4, 6], np.uint8)).sum(-1).astype(np.uint8)
    node = helper.make_node("MatMulNBits", ["x", "b", "s", "z", "", "c"], ["y"], name="nb", domain="com.microsoft", K=k,
                            N=n, bits=2, block_size=block)  # fmt: skip
    tensors = {"b": packed, "s": scales.reshape(-1), "z": zeros, "c": bias}
    inputs, (got,), _ = outputs_of(model([node], {"x": [3, k]}, {"y": [3, n]}, tensors))
    weights = (codes - np.repeat(zeros, block, 1)) * np.repeat(scales, block, 1)
    np.testing.assert_allclose(got, inputs["x"].astype(np.float64) @ weights.T + bias, rtol=1e-5, atol=1e-5)
    broken = model([node], {"x": [3, k]}, {"y": [3, n]}, {**tensors, "s": scales[:, :3].reshape(-1)})
    with pytest.raises(ModelError, match=r"'nb'.*12 x 4 blocks"):
        prepare(broken)


@pytest.mark.parametrize("kind", ["int4", "uint4", "int8", "fp8"])
def test_blocked_qdq_of_onnxruntime(kind):
    """Standard opset 21: DequantizeLinear in blocks with FP32 scales, which onnxruntime runs, too."""
    types = {
        "int4": ml_dtypes.int4,
        "uint4": ml_dtypes.uint4,
        "int8": np.int8,
        "fp8": ml_dtypes.float8_e4m3fn,
    }
    raw = RNG.integers(-8, 8, (72, 20)) if kind != "uint4" else RNG.integers(0, 16, (72, 20))
    codes, scales = raw.astype(types[kind]), np.abs(normal(5, 20)) + np.float32(0.1)
    tensors = {"w": numpy_helper.from_array(codes, "w"), "s": scales}
    operands = ["w", "s"]
    if kind == "uint4":
        tensors["z"] = numpy_helper.from_array(np.full((5, 20), 8).astype(ml_dtypes.uint4), "z")
        operands.append("z")
    nodes = [
        helper.make_node("DequantizeLinear", operands, ["wq"], name="dq", axis=0, block_size=16),
        helper.make_node("MatMul", ["x", "wq"], ["y"], name="m"),
    ]
    proto = model(nodes, {"x": [3, 72]}, {"y": [3, 20]}, tensors)
    inputs, (got,), schedule = outputs_of(proto)
    options = onnxruntime.SessionOptions()  # optimized, it would quantize the activation as well
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    want = onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, inputs)[0]
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5)
    codes_in_dram = [item for op in schedule.ops for item in op.operands if "HWIO" in item.layout]
    assert codes_in_dram and "FP32" not in codes_in_dram[0].format


def gguf(path, tensors):
    """A GGUF file, version 3, by its specification: text, numbers and arrays as metadata, data at multiples of 64."""
    import struct

    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    data, infos = b"", b""
    for name, (shape, kind, raw) in tensors.items():
        data += b"\0" * (-len(data) % 64)
        infos += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape[::-1])
        infos += struct.pack("<IQ", kind, len(data))
        data += raw
    meta = text("general.alignment") + struct.pack("<II", 4, 64)
    meta += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    meta += text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc")
    meta += text("scores") + struct.pack("<IIQ3f", 9, 6, 3, 1, 2, 3)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 4) + meta + infos
    path.write_bytes(head + b"\0" * (-len(head) % 64) + data)


def blocks_of(kind, n, k):
    """Raw bytes of n rows of k elements and their values, as ggml's dequantize functions write them."""
    raw, values = b"", np.zeros((n, k), np.float32)
    for row in range(n):
        for start in range(0, k, 32):
            if kind == 8:  # Q8_0
                d, codes = np.float16(RNG.uniform(0.01, 0.1)), RNG.integers(-127, 128, 32).astype(np.int8)
                raw += d.tobytes() + codes.tobytes()
                values[row, start : start + 32] = codes.astype(np.float32) * np.float32(d)
                continue
            nibbles = RNG.integers(0, 16, 32).astype(np.uint8)
            packed = (nibbles[:16] | nibbles[16:] << 4).tobytes()
            if kind == 2:  # Q4_0
                d = np.float16(RNG.uniform(0.01, 0.1))
                raw += d.tobytes() + packed
                values[row, start : start + 32] = (nibbles.astype(np.float32) - 8) * np.float32(d)
            else:  # MXFP4: ggml's table holds doubled values, its scale is halved
                doubled = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
                e = int(RNG.integers(120, 130))
                raw += bytes([e]) + packed
                values[row, start : start + 32] = doubled[nibbles] * np.float32(2.0 ** (e - 128))
    return raw, values


@pytest.mark.parametrize("kind", [2, 8, 39])
def test_gguf_blocks(kind, tmp_path):
    """Gemm with [N, K], MatMul with [K, N], and a plain F16 tensor, from one file."""
    first, second = blocks_of(kind, 24, 64), blocks_of(kind, 20, 96)
    half = normal(8, 64).astype(np.float16)
    gguf(tmp_path / "w.gguf", {
        "blk.0.weight": ((24, 64), kind, first[0]),
        "wb": ((20, 96), kind, second[0]),
        "wc": ((8, 64), 1, half.tobytes()),
        "other": ((3,), 30, b"123456"),
    })  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["x", "wa"], ["a"], name="first", transB=1),
        helper.make_node("MatMul", ["z", "wb"], ["b"], name="second"),
        helper.make_node("Gemm", ["x", "wc"], ["c"], name="third", transB=1),
    ]
    tensors = {"wa": normal(24, 64), "wb": normal(96, 20), "wc": normal(8, 64)}
    proto = model(nodes, {"x": [3, 64], "z": [3, 96]}, {"a": [3, 24], "b": [3, 20], "c": [3, 8]}, tensors)
    made = import_gguf(proto, tmp_path / "w.gguf", {"wa": "blk.0.weight"})
    made.save(tmp_path / "q.onnx")
    inputs, got, schedule = outputs_of(tmp_path / "q.onnx")
    for result, data, values in zip(
        got, ("x", "z", "x"), (first[1], second[1], half.astype(np.float32)), strict=True
    ):
        want = inputs[data].astype(np.float64) @ values.astype(np.float64).T
        np.testing.assert_allclose(result, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())
    codes = [item.format for op in schedule.ops[:2] for item in op.operands if "HWIO" in item.layout]
    assert codes and not codes[0].startswith("FP32")


def test_gguf_errors_name_what_is_wrong(tmp_path):
    raw, _ = blocks_of(2, 24, 64)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], name="g", transB=1)]
    proto = model(nodes, {"x": [3, 64]}, {"y": [3, 24]}, {"w": normal(24, 64)})
    path = tmp_path / "w.gguf"
    gguf(path, {"w": ((24, 32), 2, raw[: len(raw) // 2])})
    with pytest.raises(ModelError, match=r"'g'.*\[24, 32\].*\[24, 64\]"):
        import_gguf(proto, path)
    gguf(path, {"w": ((24, 64), 12, raw)})
    with pytest.raises(ModelError, match="ggml type 12"):
        import_gguf(proto, path)
    gguf(path, {"v": ((24, 64), 2, raw)})
    with pytest.raises(ModelError, match="no weight"):
        import_gguf(proto, path)
    path.write_bytes(path.read_bytes()[:-70])
    with pytest.raises(DataError, match=r"w\.gguf.*beyond"):
        import_gguf(proto, path)
    path.write_bytes(b"GGML" + bytes(60))
    with pytest.raises(DataError, match="magic"):
        import_gguf(proto, path)
