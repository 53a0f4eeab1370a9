"""MX quantization of activations at run time.

``MxQuantizeDequantize<axis, block_size, to>(x)`` quantizes an activation to MX at run time and returns its
values. The scale is 2^(floor(log2 max|block|) - emax) (OCP MX v1.0 section 6.3): a Cast to FLOAT8E8M0 that
rounds down is floor(log2), and 2^emax is what the same Cast makes of the largest value of the type `to`. NaN
or Inf in a block make its scale NaN. A last block that is not full takes its scale from the elements it has.
"""

BODIES = {
    "MxQuantizeDequantize": """
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
""",
}
"""Function -> its body in onnx's text syntax."""
