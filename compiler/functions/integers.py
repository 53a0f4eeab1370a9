"""Products of 8-bit activations with integer weights, and PoT weights.

``Integer{Conv,MatMul}{Law}``: the sum of (x - zero point of x) w and an int32 bias, modulo 2^32, then what the law
makes of it. The sum is a Conv or MatMul in double precision, which is exact for every layer whose sums stay below
2^53. The law is that of `potluck.isa.formats.requantize`, with clipping to [min, max] and the output's zero point last,
or ``Float``: the sum times an FP32 factor, clipped. Weights are integers of any type; constants per channel have a
shape that broadcasts.

* Float (x, zero, w, bias, factor)
* Ort (x, zero, w, bias, factor, out_zero): min and max are those of the codes less their zero point, here and below
* Single (x, zero, w, bias, m, t, out_zero): (acc m + 2^(t-1)) >> t
* Double (x, zero, w, bias, m, right, left, out_zero): gemmlowp's doubling high product, then a rounding shift

``PotDequantize<axis>(codes, table, scale)``: weights of four-bit codes: a look-up in the table of the code set's
sixteen levels, times a scale per index of ``axis``.

``IntegerAdd``: the sum of two dequantized tensors, clipped to [min, max] and quantized.

Shifts are divisions by powers of two after a Mod, which rounds towards minus infinity, as the shifts do.
"""

from potluck.compiler.functions.fused import CONV_ATTRIBUTES, WINDOW

_BOUNDS = """
  low = Constant <value_float: float = @min> ()
  high = Constant <value_float: float = @max> ()
"""
_WIDE_BOUNDS = (
    _BOUNDS
    + """
  low_wide = Cast <to = 7> (low)
  high_wide = Cast <to = 7> (high)
  clipped = Clip (rounded, low_wide, high_wide)
  zero_wide = Cast <to = 7> (out_zero)
  shifted = Add (clipped, zero_wide)
  y = CastLike (shifted, out_zero)
}
"""
)

_LAWS = {
    "Float": (
        "factor",
        f"""
  float = Cast <to = 1> (acc)
  scaled = Mul (float, factor)
  {_BOUNDS}
  y = Clip (scaled, low, high)
}}
""",
    ),
    "Ort": (
        "factor, out_zero",
        f"""
  float = Cast <to = 1> (acc)
  scaled = Mul (float, factor)
  {_BOUNDS}
  clipped = Clip (scaled, low, high)
  rounded = Round (clipped)
  whole = Cast <to = 6> (rounded)
  zero_wide = Cast <to = 6> (out_zero)
  shifted = Add (whole, zero_wide)
  y = CastLike (shifted, out_zero)
}}
""",
    ),
    "Single": (
        "m, t, out_zero",
        f"""
  two = Constant <value_int = 2> ()
  wide = Cast <to = 7> (acc)
  m_wide = Cast <to = 7> (m)
  t_wide = Cast <to = 7> (t)
  unit = Pow (two, t_wide)
  half = Div (unit, two)
  product = Mul (wide, m_wide)
  nudged = Add (product, half)
  rest = Mod (nudged, unit)
  whole = Sub (nudged, rest)
  rounded = Div (whole, unit)
  {_WIDE_BOUNDS}""",
    ),
    "Double": (
        "m, right, left, out_zero",
        f"""
  two = Constant <value_int = 2> ()
  none = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  unit_high = Constant <value_int = 2147483648> ()
  half_high = Constant <value_int = 1073741824> ()
  most = Constant <value_int = 2147483647> ()
  left_wide = Cast <to = 7> (left)
  multiple_wide = Pow (two, left_wide)
  multiple = Cast <to = 6> (multiple_wide)
  raised = Mul (acc, multiple)
  wide = Cast <to = 7> (raised)
  m_wide = Cast <to = 7> (m)
  product = Mul (wide, m_wide)
  nudged = Add (product, half_high)
  rest = Mod (nudged, unit_high)
  whole = Sub (nudged, rest)
  quotient = Div (whole, unit_high)
  doubled = Min (quotient, most)
  right_wide = Cast <to = 7> (right)
  unit = Pow (two, right_wide)
  half = Div (unit, two)
  negative = Less (doubled, none)
  shifts = Greater (right_wide, none)
  away = And (negative, shifts)
  one_less = Where (away, one, none)
  near = Add (doubled, half)
  nearer = Sub (near, one_less)
  rest_low = Mod (nearer, unit)
  whole_low = Sub (nearer, rest_low)
  rounded = Div (whole_low, unit)
  {_WIDE_BOUNDS}""",
    ),
}

_PRODUCTS = {
    "Conv": (f"{', '.join(WINDOW)}, ", f"Conv <{CONV_ATTRIBUTES}> (x_less, w_wide)"),
    "MatMul": ("", "MatMul (x_less, w_wide)"),
}


def _body(product: str, law: str) -> str:
    attributes, call = _PRODUCTS[product]
    inputs, tail = _LAWS[law]
    return f"""
Integer{product}{law} <{attributes}min, max> (x, zero, w, bias, {inputs}) => (y) {{
  x_wide = Cast <to = 11> (x)
  x_zero = Cast <to = 11> (zero)
  x_less = Sub (x_wide, x_zero)
  w_wide = Cast <to = 11> (w)
  sums_exact = {call}
  sums = Cast <to = 7> (sums_exact)
  bias_wide = Cast <to = 7> (bias)
  acc_wide = Add (sums, bias_wide)
  acc = Cast <to = 6> (acc_wide)
{tail}"""


_POT = """
PotDequantize <axis> (codes, table, scale) => (y) {
  index = Cast <to = 6> (codes)
  levels = Gather (table, index)
  y = DequantizeLinear <axis: int = @axis> (levels, scale)
}
"""

_ADD = """
IntegerAdd <min, max> (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero) => (y) {
  a_value = DequantizeLinear (a, a_scale, a_zero)
  b_value = DequantizeLinear (b, b_scale, b_zero)
  raw = Add (a_value, b_value)
  low = Constant <value_float: float = @min> ()
  high = Constant <value_float: float = @max> ()
  clipped = Clip (raw, low, high)
  y = QuantizeLinear (clipped, y_scale, y_zero)
}
"""

LAWS = {"float": "Float", "ort_float_rne": "Ort", "tflite_single": "Single", "tflite_double": "Double"}
"""Law -> how the functions' names end."""
BODIES = {
    **{f"Integer{product}{law}": _body(product, law) for product in _PRODUCTS for law in _LAWS},
    "PotDequantize": _POT,
    "IntegerAdd": _ADD,
}
"""Function -> its body in onnx's text syntax."""
