"""PyTorch modules against the NumPy quantizer, autograd, and the vectors of the authors' classes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from potluck.compiler.quantizers.bbq import backward, forward
from potluck.isa.errors import DataError
from potluck.isa.formats.bbq import BbqFormat
from potluck.train import BbqConv2d, BbqLinear, LsqQuantizer, QuestQuantizer
from potluck.train.bbq import BbqActivationQuantizer, BbqWeightQuantizer, BellBox, scales
from potluck.train.quest import ALPHA
from potluck.train.rotation import rotate

W = [[0.5, -1, 0.25, 0.75, -0.5, 1.5, -0.25, 0.1], [0.02, 0.03, -0.05, 0.01, 0.04, -0.02, 0.06, -0.01]]
G = [[1, -2, 0.5, 0.3, -0.7, 1.1, 0.2, -0.4], [0.6, 0.1, -0.9, 0.8, 0.3, -0.2, 0.4, 0.05]]
ROW = [0.1, -0.4, 0.9, -1.3, 2.0, 0.05, -0.75, 0.3]
ALL = [BbqFormat(bits, z) for bits in (1, 2, 3, 4) for z in (-0.5, 0.0)]


def double(array, grad=False):
    return torch.tensor(np.asarray(array, np.float64), requires_grad=grad)


def weights(rows, kind, block):
    return BbqWeightQuantizer(rows, kind, block).double()


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_weights_equal_the_numpy_quantizer_forward_and_backward(kind):
    rng = np.random.default_rng(kind.bits)
    w, g = rng.standard_normal((6, 64)), rng.standard_normal((6, 64))
    quantizer, x = weights(6, kind, 32), double(w, True)
    values = quantizer(x)
    made = forward(w, kind, 32)
    np.testing.assert_allclose(values.detach(), made.values, rtol=1e-12)
    values.backward(double(g))
    g_x, g_gamma = backward(g, made)
    np.testing.assert_allclose(x.grad, g_x, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(quantizer.gamma.grad, g_gamma, rtol=1e-10)


def test_t3():
    quantizer, x = weights(2, BbqFormat(3), 8), double(W, True)
    quantizer(x).backward(double(G))
    assert x.grad[0, :2].tolist() == pytest.approx([-0.28656745, 0.91591390], abs=5e-9)
    assert x.grad[1, 3:5].tolist() == pytest.approx([13.93850752, -0.83771891], abs=5e-9)
    assert quantizer.gamma.grad.tolist() == pytest.approx([0.40625, 0.165625], abs=1e-14)


@pytest.mark.parametrize("fast", [True, False])
def test_activations_equal_the_numpy_quantizer(fast):
    rng, kind = np.random.default_rng(1), BbqFormat(2)
    first, x, g = (rng.standard_normal((2, 3, 64)) for _ in range(3))
    quantizer, value = BbqActivationQuantizer(kind, 64, fast).double(), double(2 * x, True)
    quantizer(double(first))  # sets gamma and the running mean
    start = float(quantizer.reciprocal)
    assert start == pytest.approx(1 / np.sqrt((first**2).mean()))
    values = quantizer(value)
    values.backward(double(g))
    now = 0.99 * start + 0.01 / (2 * np.sqrt((x**2).mean()))
    assert float(quantizer.reciprocal) == pytest.approx(now)
    made = forward(
        2 * x,
        kind,
        64,
        gamma=float(quantizer.gamma.detach()),
        per_row=False,
        reciprocal=now if fast else None,
    )
    np.testing.assert_allclose(values.detach(), made.values, rtol=1e-12)
    g_x, g_gamma = backward(g, made, per_row=False)
    if not fast:  # sigma is a constant in BBQ-Fast: that is checked by autograd below
        np.testing.assert_allclose(value.grad, g_x, rtol=1e-9, atol=1e-12)
    assert float(quantizer.gamma.grad) == pytest.approx(float(g_gamma))
    quantizer.eval()
    before = quantizer.reciprocal.clone()
    quantizer(value)
    assert quantizer.reciprocal == before


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("per_row", [True, False])
def test_backward_is_autograd_of_the_curve_with_the_floor_passed_through(fixed, per_row):
    torch.manual_seed(0)
    kind = BbqFormat(3)
    x, g = torch.randn(5, 32, dtype=torch.float64), torch.randn(5, 32, dtype=torch.float64)
    gamma = torch.rand(5, 1, dtype=torch.float64) if per_row else torch.tensor(0.7, dtype=torch.float64)
    leaves = [x.clone().requires_grad_(), gamma.clone().requires_grad_()]
    a = rotate(leaves[0], 16)
    square = a.square()
    sigma = square.mean(dim=1, keepdim=True).sqrt() if per_row else square.mean().sqrt()
    if fixed:
        sigma = sigma.detach()
    n = kind.levels
    smooth = n * torch.special.ndtr(a / sigma)
    k = smooth + (smooth.floor().clamp(0, n - 1) - smooth).detach()
    values = leaves[1] * (k - n / 2 - kind.zero_point) / (n / 2)
    values.backward(g)
    others = [x.clone().requires_grad_(), gamma.clone().requires_grad_()]
    mine = BellBox.apply(rotate(others[0], 16), others[1], sigma.detach(), fixed, kind)
    mine.backward(g)
    torch.testing.assert_close(mine, values, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(others[0].grad, leaves[0].grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(others[1].grad * math.sqrt(g.numel()), leaves[1].grad)


def test_quest_vectors():
    """T1's row: levels and trust."""
    for bits, step, levels, trust in (
        (2, 0.952758559, [1, 0, 1, -1, 2, 1, 0, 1], [1, 1, 1, 1, 0, 1, 1, 1]),
        (3, 0.560752105, [1, 0, 2, -2, 4, 1, -1, 1], [1] * 8),
        (4, 0.320738313, [1, -1, 3, -4, 7, 1, -2, 1], [1] * 8),
    ):
        x = double([ROW], True)
        values = QuestQuantizer(bits, 1)(x)
        wanted = (np.array(levels) - 0.5) * step
        assert values[0].tolist() == pytest.approx(wanted, abs=1e-7)
        values.sum().backward()
        assert x.grad[0].tolist() == trust
    rng = np.random.default_rng(0).standard_normal(200_000)
    for bits, alpha in ALPHA.items():  # the grid is the best uniform one on normal input
        errors = []
        for factor in (0.97, 1, 1.03):
            step = 2 * alpha * factor / ((1 << bits) - 1)
            nearest = (np.clip(np.floor(rng / step), -(1 << bits - 1), (1 << bits - 1) - 1) + 0.5) * step
            errors.append(((rng - nearest) ** 2).mean())
        assert errors[1] == min(errors)


def test_lsq_gradients_are_those_of_the_paper():
    torch.manual_seed(1)
    quantizer, x = LsqQuantizer(2).double(), torch.randn(50, dtype=torch.float64, requires_grad=True)
    values = quantizer(x)
    step = float(quantizer.step)
    assert step == pytest.approx(2 * float(x.detach().abs().mean()))
    assert set(np.round(values.detach().numpy() / step, 9)) <= {-1.5, -0.5, 0.5, 1.5}
    values.sum().backward()
    ratio = x.detach().numpy() / step
    inside = np.abs(ratio) <= 2
    level = values.detach().numpy() / step
    assert x.grad.tolist() == inside.astype(float).tolist()
    assert float(quantizer.step.grad) == pytest.approx(
        np.where(inside, level - ratio, level).sum() / math.sqrt(50)
    )


def test_layers_train_and_keep_their_scales_from_decay():
    torch.manual_seed(0)
    net = nn.Sequential(
        BbqConv2d(8, 16, 3, bits=2, padding=1), nn.ReLU(), nn.Flatten(), BbqLinear(16 * 16, 4, bits=1)
    )
    x, y = torch.randn(64, 8, 4, 4), torch.randint(0, 4, (64,))
    net(x)
    assert len(list(scales(net))) == 4
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=0)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    restored = nn.Sequential(
        BbqConv2d(8, 16, 3, bits=2, padding=1), nn.ReLU(), nn.Flatten(), BbqLinear(16 * 16, 4, bits=1)
    )
    restored.load_state_dict(net.state_dict())
    torch.testing.assert_close(restored.eval()(x), net.eval()(x))


def test_errors():
    for action in (
        lambda: BbqLinear(30, 4, 2), lambda: BbqLinear(32, 4, 5), lambda: QuestQuantizer(5, 8), lambda: LsqQuantizer(1)
    ):  # fmt: skip
        with pytest.raises(DataError):
            action()
