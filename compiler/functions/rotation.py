"""``Rotate<half, full>(x, cosines, sines)``: rotary positions, x cosines + [-second half, first half] sines.

``half`` and ``full`` are the lengths of half a row and of a row, one number each.
"""

BODIES = {
    "Rotate": """
Rotate <half, full> (x, cosines, sines) => (y) {
  middle = Constant <value_ints: ints = @half> ()
  end = Constant <value_ints: ints = @full> ()
  start = Constant <value_ints = [0]> ()
  axis = Constant <value_ints = [-1]> ()
  first = Slice (x, start, middle, axis)
  second = Slice (x, middle, end, axis)
  negated = Neg (second)
  turned = Concat <axis = -1> (negated, first)
  straight = Mul (x, cosines)
  across = Mul (turned, sines)
  y = Add (straight, across)
}
"""
}
"""Function -> its body in onnx's text syntax."""
