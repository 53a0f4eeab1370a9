"""``Im2col<dilations, kernel_shape, pads, strides>(x)``: every window of an image as channels.

[N, C, H, W] becomes [N, KH KW C, OH, OW] with the channels in the order (kh, kw, c), so that a convolution is one with
1x1 taps. The body is a convolution with weights of 0 and one 1 each, which copies finite numbers.
"""

from potluck.compiler.functions.fused import WINDOW

_WINDOW = [name for name in WINDOW if name != "group"]

BODIES = {
    "Im2col": f"""
Im2col <{", ".join(_WINDOW)}> (x) => (y) {{
  taps = Constant <value_ints: ints = @kernel_shape> ()
  channels = Shape <start = 1, end = 2> (x)
  positions = ReduceProd <keepdims = 1> (taps)
  depth = Mul (positions, channels)
  square = Concat <axis = 0> (depth, depth)
  zeros = ConstantOfShape (square)
  ones = EyeLike <dtype = 1> (zeros)
  whole = Concat <axis = 0> (depth, taps, channels)
  last = Reshape (ones, whole)
  weights = Transpose <perm = [0, 3, 1, 2]> (last)
  y = Conv <{", ".join(f"{name}: ints = @{name}" for name in _WINDOW)}> (x, weights)
}}
""",
}
"""Function -> its body in onnx's text syntax."""
