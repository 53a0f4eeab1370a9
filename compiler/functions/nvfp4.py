"""NVFP4 quantization of activations at run time, with a scale of the tensor that calibration has fixed.

``NvQuantizeDequantize<axis, block_size, to>(x, factor)``, ``to`` FLOAT4E2M1: a block's scale is E4M3(max|block| / (6
factor)), its elements are E2M1(x / (scale factor)), the result is their product. Where the scale rounds to 0 the block
becomes 0. A last block that is not full takes its scale from the elements it has.
"""

from potluck.compiler.functions.mx import GROUPED

BODIES = {
    "NvQuantizeDequantize": f"""
NvQuantizeDequantize <axis, block_size, to> (x, factor) => (y) {{
{GROUPED}
  six = Constant <value_float = 6.0> ()
  top = Mul (six, factor)
  ratio = Div (maximum, top)
  scale_codes = Cast <to = 17> (ratio)
  scale_values = Cast <to = 1> (scale_codes)
  scale = Mul (scale_values, factor)
  nothing_at_all = Constant <value_float = 0.0> ()
  vanished = Equal (scale, nothing_at_all)
  infinite = Constant <value_float = inf> ()
  divisor = Where (vanished, infinite, scale)
  codes = QuantizeLinear <axis: int = @axis, block_size: int = @block_size, output_dtype: int = @to> (x, divisor)
  y = DequantizeLinear <axis: int = @axis, block_size: int = @block_size> (codes, scale)
}}
""",
}
"""Function -> its body in onnx's text syntax."""
