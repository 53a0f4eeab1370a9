"""Trained networks in ONNX: near the float network, equal to the NumPy layer, compiled bit for bit."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

import potluck
from potluck.isa.errors import ModelError
from potluck.train import BbqConv2d, BbqLinear, export
from potluck.train.export import layer_of


def trained(net, x):
    """Shifts scales and statistics away from where they start."""
    torch.manual_seed(2)
    net(x)
    for _ in range(3):
        loss = net(x + 0.1 * torch.randn_like(x)).square().mean()
        loss.backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.05 * parameter.grad
                parameter.grad = None
    return net.eval()


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_a_layer_is_the_numpy_layer(bits):
    torch.manual_seed(bits)
    x = torch.randn(9, 64)
    net = trained(nn.Sequential(BbqLinear(64, 10, bits)), x)
    got = ReferenceEvaluator(ir.to_proto(export(net, x))).run(None, {"input": x.numpy()})[0]
    assert np.array_equal(got.view(np.uint32), layer_of(net[0])(x.numpy()).view(np.uint32))
    wanted = net(x).detach().numpy()  # its activations are not rounded to 8 bits
    assert ((got - wanted) ** 2).sum() < 0.05 * (wanted**2).sum()


def test_a_network_compiles_to_the_bits_of_the_evaluator(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(2, 1, 8, 8)
    net = trained(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            BbqConv2d(16, 32, 3, bits=4, stride=2, padding=1), nn.ReLU(), BbqConv2d(32, 32, 1, bits=2),
            nn.ReLU(), nn.Flatten(), BbqLinear(512, 64, bits=2), nn.ReLU(), BbqLinear(64, 32, bits=1), nn.Linear(32, 5),
        ),
        x,
    )  # fmt: skip
    model = export(net, x)
    model.save(tmp_path / "net.onnx")
    wanted = ReferenceEvaluator(str(tmp_path / "net.onnx")).run(None, {"input": x.numpy()})[0]
    program = potluck.compile(str(tmp_path / "net.onnx"), machine="spatz-mx")
    result = potluck.simulate(program, {"input": x.numpy()})
    # The first and last layer are FP32 sums in another order; codes in between may flip, hence no equality.
    assert ((result.outputs["output"] - wanted) ** 2).sum() < 0.05 * (wanted**2).sum()
    with torch.no_grad():
        assert ((net(x).numpy() - wanted) ** 2).sum() < 0.2 * (wanted**2).sum()


def test_what_cannot_be_written_is_named():
    x = torch.randn(2, 8)
    with pytest.raises(ModelError, match="Tanh"):
        export(nn.Sequential(nn.Tanh()), x)
    fresh = BbqLinear(8, 8, 2)
    with pytest.raises(ModelError, match="never seen data"):
        layer_of(fresh)
