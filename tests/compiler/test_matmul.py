"""Products of two activations against onnx's reference evaluator: ranks, broadcast batches, slices and parts."""

import numpy as np
from nodes import Net, drawn

from potluck.compiler.lowering.matmul import Product

SHAPES = [
    ((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (1, 5, 4, 2)), ((5, 1, 7), (5, 7, 130)), ((1, 70), (70, 1)),
    ((2, 4, 16, 24), (2, 4, 24, 16)), ((65, 1), (1, 67)),
]  # fmt: skip


def test_ranks_and_batches():
    rng, net = np.random.default_rng(1), Net()
    for left, right in SHAPES:
        net.node("MatMul", net.value(drawn(rng, left)), net.value(drawn(rng, right)), rtol=1e-4, atol=1e-5)
    net.check()


def test_constants_on_either_side():
    rng, net = np.random.default_rng(2), Net()
    for left, right in (((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((4,), (4, 5))):
        a, b = drawn(rng, left), drawn(rng, right)
        net.node("MatMul", net.value(a, constant=True), net.value(b), rtol=1e-4, atol=1e-5)
        net.node("MatMul", net.value(a), net.value(b, constant=True), rtol=1e-4, atol=1e-5)
    net.check()


def test_larger_than_the_scratchpad():
    rng, net = np.random.default_rng(3), Net()
    for left, right in (((70, 300), (300, 210)), ((5, 1500), (1500, 40)), ((3, 3000), (3000, 9))):
        a, b = (drawn(rng, shape) for shape in (left, right))
        net.node("MatMul", net.value(a), net.value(b), rtol=1e-3, atol=1e-3)
    net.check()


def test_activation_and_gemm():
    rng, net = np.random.default_rng(4), Net()
    a, b, c = (net.value(drawn(rng, shape)) for shape in ((6, 9), (9, 11), (11,)))
    net.node("MatMul", a, b, rtol=1e-4, atol=1e-5)
    net.node("Relu", "y0", rtol=1e-4, atol=1e-5)
    net.node("Gemm", a, b, c, rtol=1e-4, atol=1e-5, alpha=0.5, beta=2.0)
    turned, other = net.value(drawn(rng, (9, 6))), net.value(drawn(rng, (11, 9)))
    net.node("Gemm", turned, other, rtol=1e-4, atol=1e-5, transA=1, transB=1)
    net.check()


def test_which_matrices_are_multiplied():
    product = Product.of((2, 1, 3, 4), (5, 4, 6))
    assert (product.batch, product.m, product.k, product.n) == ((2, 5), 3, 4, 6)
    assert list(product.offsets()) == [(i, j) for i in range(2) for j in range(5)]
    assert Product.of((2, 7, 3, 4), (4, 6)) == Product((), (), (), 42, 4, 6)
