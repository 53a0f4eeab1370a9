"""Fourier transforms, against NumPy."""

import numpy as np
import pytest
from nodes import MACHINE
from onnx import helper, numpy_helper

from potluck.compiler.compile import compile_model
from potluck.sim.simulate import simulate


def run(op, operands, shape, **attributes):
    held = [numpy_helper.from_array(a, f"c{i}") for i, a in enumerate(operands) if i and a is not None]
    names = ["x", *(f"c{i}" if a is not None else "" for i, a in enumerate(operands) if i)]
    node = helper.make_node(op, names, ["y"], name="n", **attributes)
    x = operands[0]
    graph = helper.make_graph([node], "g", [helper.make_tensor_value_info("x", 1, x.shape)],
                              [helper.make_tensor_value_info("y", 1, shape)], held)  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return simulate(compile_model(model, MACHINE), {"x": x}, machine=MACHINE, mode="functional").outputs["y"]


def parts(array):
    return np.stack([array.real, array.imag], axis=-1)


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


@pytest.mark.parametrize("length", [None, 5, 12])
@pytest.mark.parametrize("axis", [1, 2])
def test_of_real_and_complex_signals(axis, length):
    """Shortened and extended; one-sided; forth and back."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((2, 8, 7)) + 1j * rng.standard_normal((2, 8, 7))
    more = [None if length is None else np.array(length), np.array(axis)]
    for inverse, transform in ((0, np.fft.fft), (1, np.fft.ifft)):
        want = parts(transform(z, length, axis))
        close(run("DFT", [parts(z).astype(np.float32), *more], want.shape, inverse=inverse), want)
    x = z.real
    for onesided, transform in ((0, np.fft.fft), (1, np.fft.rfft)):
        want = parts(transform(x, length, axis))
        close(run("DFT", [x[..., None].astype(np.float32), *more], want.shape, onesided=onesided), want)


def test_short_time():
    rng = np.random.default_rng(2)
    x, window = rng.standard_normal((2, 40, 1)).astype(np.float32), np.hanning(12).astype(np.float32)
    frames = np.stack([x[:, i : i + 12, 0] * window for i in range(0, 29, 4)], axis=1)
    want = parts(np.fft.rfft(frames, axis=-1))
    close(run("STFT", [x, np.array(4), window], want.shape), want)
