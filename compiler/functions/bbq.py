"""Products of Bell Box codes (`potluck.compiler.quantizers.bbq_inference` says what is computed, in NumPy).

``BbqQuantize<block, lowest, multiple>(x, rate, thresholds)``: stored integers, int8, of an activation [..., K]: rounded
to 8 bits, multiplied by Sylvester's matrix in blocks along the last axis, and binned. The thresholds are int32 [n - 1];
the code of k is lowest + multiple k. The matrix's sign at (i, j) is the parity of the bits that i and j share.

``BbqQuantizeImage``: the same along the channels of [N, C, H, W].

``BbqMatMul<min, max>(q, w, factor, bias)``: FP32(q w) factor + bias, clipped; w is INT4 or INT8 [K, N].

``BbqConv``: the same for images and w [Cout, C, KH, KW], factor and bias [Cout, 1, 1]; borders are 0, which no code
need be.
"""

from potluck.compiler.functions.fused import CONV_ATTRIBUTES, WINDOW

_FINISH = """
  float = Cast <to = 1> (acc)
  scaled = Mul (float, factor)
  raw = Add (scaled, bias)
  low = Constant <value_float: float = @min> ()
  high = Constant <value_float: float = @max> ()
  y = Clip (raw, low, high)
}
"""

_QUANTIZE = """
  least = Constant <value_float = -127.0> ()
  most = Constant <value_float = 127.0> ()
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  two = Constant <value_int = 2> ()
  last = Constant <value_ints = [-1]> ()
  powers = Constant <value_ints = [1, 2, 4, 8, 16, 32, 64]> ()
  size = Constant <value_int: int = @block> ()
  scaled = Mul (rows, rate)
  rounded = Round (scaled)
  limited = Clip (rounded, least, most)
  whole = Cast <to = 6> (limited)
  index = Range (zero, size, one)
  column = Unsqueeze (index, last)
  shifted = Div (column, powers)
  digits = Mod (shifted, two)
  turned = Transpose <perm = [1, 0]> (digits)
  shared = MatMul (digits, turned)
  odd = Mod (shared, two)
  doubled = Mul (odd, two)
  signs = Sub (one, doubled)
  matrix = Cast <to = 6> (signs)
  length = Reshape (size, last)
  group = Concat <axis = 0> (last, length)
  grouped = Reshape (whole, group)
  sums = MatMul (grouped, matrix)
  each = Unsqueeze (sums, last)
  reached = GreaterOrEqual (each, thresholds)
  counted = Cast <to = 7> (reached)
  k = ReduceSum <keepdims = 0> (counted, last)
  multiple = Constant <value_int: int = @multiple> ()
  lowest = Constant <value_int: int = @lowest> ()
  spread = Mul (k, multiple)
  wide = Add (spread, lowest)
  narrow = Cast <to = 3> (wide)
  shape = Shape (rows)
  codes = Reshape (narrow, shape)
"""

BODIES = {
    "BbqQuantize": f"""
BbqQuantize <block, lowest, multiple> (x, rate, thresholds) => (q) {{
  rows = Identity (x)
{_QUANTIZE}
  q = Identity (codes)
}}
""",
    "BbqQuantizeImage": f"""
BbqQuantizeImage <block, lowest, multiple> (x, rate, thresholds) => (q) {{
  rows = Transpose <perm = [0, 2, 3, 1]> (x)
{_QUANTIZE}
  q = Transpose <perm = [0, 3, 1, 2]> (codes)
}}
""",
    "BbqMatMul": f"""
BbqMatMul <min, max> (q, w, factor, bias) => (y) {{
  w_bytes = Cast <to = 3> (w)
  acc = MatMulInteger (q, w_bytes)
{_FINISH}""",
    "BbqConv": f"""
BbqConv <{", ".join(WINDOW)}, min, max> (q, w, factor, bias) => (y) {{
  w_bytes = Cast <to = 3> (w)
  acc = ConvInteger <{CONV_ATTRIBUTES}> (q, w_bytes)
{_FINISH}""",
}
"""Function -> its body in onnx's text syntax."""
