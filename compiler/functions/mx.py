"""MX quantization of activations at run time.

``MxQuantizeDequantize<axis, block_size, to, raised_from>(x)`` quantizes an activation to MX and returns its values. The
floor scale is X = 2^(floor(log2 max|block|) - emax) (OCP MX v1.0 section 6.3): a Cast to FLOAT8E8M0 that rounds down is
floor(log2), and 2^emax is what the same Cast makes of the largest value of the type `to`. Where max|block| / X is
``raised_from`` or more, the scale is 2 X: `potluck.isa.formats.mx.raised_from` says which number makes which rule;
infinity is the floor rule. NaN or Inf in a block make its scale NaN. A last block that is not full takes its scale from
the elements it has.

``MxIntegerQuantizeDequantize`` is the same with INT8 elements from -127 to 127 (MXINT8; the E8M0 scale is that of
integers, 2^-6 of the one that the standard writes).
"""

BLOCKS = """
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
  pads = Concat <axis = 0> (zero, missing)"""
"""How x is cut into blocks along ``axis``: shapes before and behind it, whole blocks, what the last one lacks."""
GROUPED = (
    BLOCKS
    + """
  magnitude = Abs (x)
  nothing = Constant <value_float = 0.0> ()
  padded = Pad (magnitude, pads, nothing, along)
  block_shape = Concat <axis = 0> (lead, blocks, size, tail)
  grouped = Reshape (padded, block_shape)
  maximum = ReduceMax <keepdims = 0> (grouped, after)
"""
)
"""The largest magnitude of every block of x, the last one filled up with zeros."""
_SCALE = (
    GROUPED
    + """
  ratio = Div (maximum, top)
  floor_scale = Cast <to = 24, round_mode = "down", saturate = 0> (ratio)
  floor_value = Cast <to = 1> (floor_scale)
  quotient = Div (maximum, floor_value)
  limit = Constant <value_float: float = @raised_from> ()
  raised = GreaterOrEqual (quotient, limit)
  doubled = Add (floor_value, floor_value)
  value = Where (raised, doubled, floor_value)
  scale = Cast <to = 24, round_mode = "down", saturate = 0> (value)
"""
)
_QUANTIZE = (
    "QuantizeLinear <axis: int = @axis, block_size: int = @block_size, output_dtype: int = @to> (x, scale)"
)
_DEQUANTIZE = """
  y = DequantizeLinear <axis: int = @axis, block_size: int = @block_size, output_dtype = 1> (codes, scale)
}
"""
_ATTRIBUTES = "axis, block_size, to, raised_from"

BODIES = {
    "MxQuantizeDequantize": f"""
MxQuantizeDequantize <{_ATTRIBUTES}> (x) => (y) {{
  huge = Constant <value_float = 3e38> ()
  saturated = Cast <to: int = @to> (huge)
  largest = Cast <to = 1> (saturated)
  top_scale = Cast <to = 24, round_mode = "down"> (largest)
  top = Cast <to = 1> (top_scale)
{_SCALE}
  codes = {_QUANTIZE}
{_DEQUANTIZE}""",
    "MxIntegerQuantizeDequantize": f"""
MxIntegerQuantizeDequantize <{_ATTRIBUTES}> (x) => (y) {{
  top = Constant <value_float = 64.0> ()
{_SCALE}
  all_codes = {_QUANTIZE}
  least_value = Constant <value_float = -127.0> ()
  least = Cast <to: int = @to> (least_value)
  codes = Max (all_codes, least)
{_DEQUANTIZE}""",
}
"""Function -> its body in onnx's text syntax."""
