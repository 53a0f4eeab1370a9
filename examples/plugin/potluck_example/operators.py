"""The activation Snake: x + sin(x)^2. Its module declares it when it is imported."""

from potluck.compiler.operators.pointwise import declare
from potluck.kernels.expressions.functions import sin
from potluck.kernels.expressions.graph import Value


def snake(x: Value) -> Value:
    """As instructions compute it."""
    wave = sin(x)
    return x + wave * wave


declare("example.Snake", lambda node, x: snake(x))
