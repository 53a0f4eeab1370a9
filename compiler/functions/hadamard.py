"""``Hadamard<n><axis>(x)``: Sylvester's Hadamard matrix times blocks of n elements along an axis, by additions.

Butterflies of elements 1, 2, 4... apart, in this order, each a sum and a difference: that is what the machine rounds.
"""

BLOCKS = (8, 16, 32, 64, 128)
"""Sizes that have a function."""


def _body(block: int) -> str:
    lines = []
    value, stride = "x", 1
    while stride < block:
        lines.append(f"""
  two{stride} = Constant <value_ints = [2]> ()
  near{stride} = Constant <value_ints = [{stride}]> ()
  pair{stride} = Constant <value_ints = [{2 * stride}]> ()
  pairs{stride} = Div (length, pair{stride})
  shape{stride} = Concat <axis = 0> (lead, pairs{stride}, two{stride}, near{stride}, tail)
  parted{stride} = Reshape ({value}, shape{stride})
  a{stride}, b{stride} = Split <axis = 2, num_outputs = 2> (parted{stride})
  sum{stride} = Add (a{stride}, b{stride})
  difference{stride} = Sub (a{stride}, b{stride})
  made{stride} = Concat <axis = 2> (sum{stride}, difference{stride})""")
        value, stride = f"made{stride}", 2 * stride
    return f"""
Hadamard{block} <axis> (x) => (y) {{
  zero = Constant <value_ints = [0]> ()
  one = Constant <value_ints = [1]> ()
  axis_scalar = Constant <value_int: int = @axis> ()
  along = Reshape (axis_scalar, one)
  after = Add (along, one)
  shape = Shape (x)
  end = Shape (shape)
  before_all = Slice (shape, zero, along)
  before_dims = Concat <axis = 0> (one, before_all)
  after_all = Slice (shape, after, end)
  after_dims = Concat <axis = 0> (one, after_all)
  lead = ReduceProd (before_dims)
  tail = ReduceProd (after_dims)
  length = Gather (shape, along){"".join(lines)}
  y = Reshape ({value}, shape)
}}
"""


BODIES = {f"Hadamard{block}": _body(block) for block in BLOCKS}
"""Function -> its body in onnx's text syntax."""
