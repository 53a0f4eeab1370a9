"""Potluck's operators: ONNX functions of the domain ``potluck`` whose bodies are standard operators.

So every graph the compiler writes runs on any conforming evaluator (`onnx.reference.ReferenceEvaluator`), and
the body is the definition of what the operator means.

``MxQuantizeDequantize<axis, block_size, to>(x)`` quantizes an activation to MX at run time and returns its
values. The scale is 2^(floor(log2 max|block|) - emax) (OCP MX v1.0 section 6.3): a Cast to FLOAT8E8M0 that
rounds down is floor(log2), and 2^emax is what the same Cast makes of the largest value of the type `to`. NaN
or Inf in a block make its scale NaN. A last block that is not full takes its scale from the elements it has.

``Fused*`` are an operator and the Clip that follows it (Relu is a Clip at 0).
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from potluck.compiler.graph import DOMAIN, OPSET

_MX = """
MxQuantizeDequantize <axis, block_size, to> (x) => (y) {
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  axis_scalar = Constant <value_int: int = @axis> ()
  size_scalar = Constant <value_int: int = @block_size> ()
  along = Reshape (axis_scalar, one)
  size = Reshape (size_scalar, one)
  after = Add (along, one)
  shape = Shape (x)
  end = Shape (shape)
  lead = Slice (shape, zero, along)
  tail = Slice (shape, after, end)
  length = Gather (shape, along)
  up = Add (length, size)
  up_less_one = Sub (up, one)
  blocks = Div (up_less_one, size)
  whole = Mul (blocks, size)
  missing = Sub (whole, length)
  pads = Concat <axis = 0> (zero, missing)
  magnitude = Abs (x)
  nothing = Constant <value_float = 0.0> ()
  padded = Pad (magnitude, pads, nothing, along)
  block_shape = Concat <axis = 0> (lead, blocks, size, tail)
  grouped = Reshape (padded, block_shape)
  maximum = ReduceMax <keepdims = 0> (grouped, after)
  huge = Constant <value_float = 3e38> ()
  saturated = Cast <to: int = @to> (huge)
  largest = Cast <to = 1> (saturated)
  top_scale = Cast <to = 24, round_mode = "down"> (largest)
  top = Cast <to = 1> (top_scale)
  ratio = Div (maximum, top)
  scale = Cast <to = 24, round_mode = "down", saturate = 0> (ratio)
  codes = QuantizeLinear <axis: int = @axis, block_size: int = @block_size,
                          output_dtype: int = @to> (x, scale)
  y = DequantizeLinear <axis: int = @axis, block_size: int = @block_size, output_dtype = 1> (codes, scale)
}
"""

_CLIP = """
  low = Constant <value_float: float = @min> ()
  high = Constant <value_float: float = @max> ()
  y = Clip (raw, low, high)
}
"""

_WINDOW = ("dilations", "group", "kernel_shape", "pads", "strides")
_CONV_ATTRIBUTES = ", ".join(f"{name}: {'int' if name == 'group' else 'ints'} = @{name}" for name in _WINDOW)

_BODIES = {
    "MxQuantizeDequantize": _MX,
    "FusedConv": f"""
FusedConv <{", ".join(_WINDOW)}, min, max> (x, w, b) => (y) {{
  raw = Conv <{_CONV_ATTRIBUTES}> (x, w, b)
{_CLIP}""",
    "FusedGemm": f"""
FusedGemm <alpha, beta, transA, transB, min, max> (a, b, c) => (y) {{
  raw = Gemm <alpha: float = @alpha, beta: float = @beta,
              transA: int = @transA, transB: int = @transB> (a, b, c)
{_CLIP}""",
    "FusedMatMul": f"FusedMatMul <min, max> (a, b) => (y) {{ raw = MatMul (a, b)\n{_CLIP}",
    "FusedAdd": f"FusedAdd <min, max> (a, b) => (y) {{ raw = Add (a, b)\n{_CLIP}",
}

FUSED = {name.removeprefix("Fused"): name for name in _BODIES if name.startswith("Fused")}
"""Standard operator -> the function that clips its result."""


def function(name: str) -> ir.Function:
    """A new copy of the function called ``name``; its docs are in the module's text.

    Raises:
        KeyError: No such function.
    """
    header = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>\n'
    proto = onnx.parser.parse_function(header + _BODIES[name])
    return ir.serde.deserialize_function(proto)


def require(model: ir.Model, name: str) -> None:
    """Adds the function to the model and imports its domain, if that has not happened yet."""
    key = (DOMAIN, name, "")
    if key not in model.functions:
        model.functions[key] = function(name)
    model.graph.opset_imports[DOMAIN] = 1
