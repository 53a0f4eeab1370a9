"""The trained ResNet-8 on the simulator, against whole-layer contracts, ONNX's evaluator and onnxruntime."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator
from running import by_simulator, same_bits

import potluck
from potluck.compiler.build import build, prepare
from potluck.compiler.graph.nodes import constant, integer, ints, real
from potluck.compiler.lowering.packing import pack_mx
from potluck.isa.formats import blocks, mx
from potluck.isa.machine import load_machine
from potluck.kernels.conv.fp32 import ConvFp32, pack_weights_fp32
from potluck.kernels.conv.mx import ConvMx, pack_activations
from potluck.kernels.conv.window import Window
from potluck.kernels.elementwise import Add
from potluck.kernels.pool import GlobalAveragePool

ASSETS = Path(potluck.__file__).parent / "assets"
MODEL = ASSETS / "resnet8_fashion.onnx"
NAMES = {"mxfp8": "e4m3", "mxfp8_e5m2": "e5m2", "mxfp4": "e2m1"}

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the trained network is not packaged")


class Layers:
    """Evaluates a prepared graph layer by layer on whole tensors: no tiles, no addresses, no DMA."""

    def __init__(self, model, scheme):
        self.model, self.scheme = model, scheme

    def run(self, x):
        values = {self.model.graph.inputs[0].name: x.transpose(0, 2, 3, 1)}
        for node in self.model.graph:
            method = getattr(self, node.op_type.removeprefix("Fused").lower())
            values[node.outputs[0].name] = method(node, values)
        return [values[output.name] for output in self.model.graph.outputs]

    def dequantizelinear(self, node, values):
        codes, scales = (constant(value).view(np.uint8) for value in node.inputs)
        return mx.MxTensor(codes, scales, blocks.layout(self.scheme), integer(node, "axis", 1))

    def cast(self, node, values):
        return constant(node.inputs[0]).astype(np.float32)

    def mxquantizedequantize(self, node, values):
        return mx.quantize(values[node.inputs[0].name], blocks.layout(self.scheme))  # NHWC: the last axis

    def conv(self, node, values):
        x = values[node.inputs[0].name]
        weights = values.get(node.inputs[1].name, constant(node.inputs[1]))
        pads, strides = ints(node, "pads", ()), ints(node, "strides", ())
        return self._conv(node, x, weights, pads, strides)

    def gemm(self, node, values):
        x, weights = values[node.inputs[0].name], values.get(node.inputs[1].name, constant(node.inputs[1]))
        if isinstance(x, mx.MxTensor):
            image = mx.MxTensor(x.codes[:, None, None], x.scales[:, None, None], x.layout, 3)
            matrix = mx.MxTensor(
                weights.codes[..., None, None], weights.scales[..., None, None], weights.layout, 1
            )
        else:
            image, matrix = x[:, None, None], weights[..., None, None]
        return self._conv(node, image, matrix, (0, 0, 0, 0), (1, 1))[:, 0, 0]

    def _conv(self, node, x, weights, pads, strides):
        low = None if np.isinf(real(node, "min", -np.inf)) else real(node, "min", 0.0)
        high = None if np.isinf(real(node, "max", np.inf)) else real(node, "max", 0.0)
        border = [(pads[0], pads[2]), (pads[1], pads[3]), (0, 0)]
        quantized = isinstance(x, mx.MxTensor)
        out, channels, *kernel = (weights.codes if quantized else weights).shape
        height, width = ((x.codes if quantized else x).shape[i + 1] + pads[i] + pads[i + 2] for i in (0, 1))
        rows, columns = ((n - k) // s + 1 for n, k, s in zip((height, width), kernel, strides, strict=True))
        window = Window(width, columns, tuple(kernel), tuple(strides))
        bias = constant(node.inputs[2])
        if not quantized:
            plain = ConvFp32(window, channels, out, low, high)
            packed = pack_weights_fp32(weights)
            return np.stack([plain.contract(np.pad(image, border), packed, bias, rows) for image in x])
        element = NAMES[self.scheme]
        conv = ConvMx(window, channels, out, low, high, element=element)
        packed = pack_mx(weights)
        images = zip(pack_activations(x.codes, element), x.scales, strict=True)
        return np.stack(
            [conv.contract(np.pad(c, border), np.pad(s, border), *packed, bias, rows) for c, s in images]
        )

    def add(self, node, values):
        kernel = Add(None if np.isinf(real(node, "min", -np.inf)) else 0.0)
        return kernel.contract(*(values[value.name] for value in node.inputs))

    def globalaveragepool(self, node, values):
        x = values[node.inputs[0].name]
        pixels = x.shape[1] * x.shape[2]
        kernel = GlobalAveragePool(x.shape[3], float(np.float32(1) / np.float32(pixels)))
        return np.stack([kernel.contract(image.reshape(pixels, -1)) for image in x])[:, None, None]

    reducemean = globalaveragepool

    def flatten(self, node, values):
        x = values[node.inputs[0].name]
        return x.reshape(len(x), -1)  # one pixel: the order of the channels is that of ONNX

    reshape = squeeze = flatten


def images(count):
    data = np.load(ASSETS / "fashion_test1000.npz")
    name = next(key for key in data.files if data[key].ndim > 1)
    x = data[name][:count].reshape(count, 1, 28, 28)
    return (x.astype(np.float32) / 255 - 0.286) / 0.353 if x.dtype == np.uint8 else x.astype(np.float32)


@pytest.mark.parametrize("scheme", ["fp32", "mxfp8", "mxfp8_e5m2", "mxfp4"])
@pytest.mark.parametrize("count", [1, 2])
def test_simulated_outputs_equal_the_contracts_layer_by_layer(scheme, count):
    symbol = next(dim for dim in ir.load(MODEL).graph.inputs[0].shape)
    dims = {} if isinstance(symbol, int) else {symbol.value: count}
    schedule = build(prepare(MODEL, scheme, dims=dims), load_machine("spatz-mx"))
    x = images(count)
    name = schedule.inputs[0].name
    got = by_simulator(schedule, {name: x}, timed=True)
    assert same_bits(got, Layers(schedule.model, scheme).run(x))
    reference = ReferenceEvaluator(ir.to_proto(schedule.model)).run(None, {name: x})[0]
    exact = ort.InferenceSession(MODEL).run(None, {name: x})[0]
    if scheme == "fp32":
        np.testing.assert_allclose(got[0], exact, rtol=1e-4, atol=1e-4)
    else:
        # A sum that rounds differently may move an activation to the next code, which is visible.
        np.testing.assert_allclose(got[0], reference, atol=0.05 * np.abs(exact).max())
        assert (
            np.abs(got[0] - exact).max()
            < {"mxfp8": 0.2, "mxfp8_e5m2": 0.4, "mxfp4": 1.0}[scheme] * np.abs(exact).max()
        )
