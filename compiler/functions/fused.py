"""``Fused*``: an operator and the Clip that follows it (Relu is a Clip at 0)."""

_CLIP = """
  low = Constant <value_float: float = @min> ()
  high = Constant <value_float: float = @max> ()
  y = Clip (raw, low, high)
}
"""

WINDOW = ("dilations", "group", "kernel_shape", "pads", "strides")
CONV_ATTRIBUTES = ", ".join(f"{name}: {'int' if name == 'group' else 'ints'} = @{name}" for name in WINDOW)

BODIES = {
    "FusedConv": f"""
FusedConv <{", ".join(WINDOW)}, min, max> (x, w, b) => (y) {{
  raw = Conv <{CONV_ATTRIBUTES}> (x, w, b)
{_CLIP}""",
    "FusedGemm": f"""
FusedGemm <alpha, beta, transA, transB, min, max> (a, b, c) => (y) {{
  raw = Gemm <alpha: float = @alpha, beta: float = @beta,
              transA: int = @transA, transB: int = @transB> (a, b, c)
{_CLIP}""",
    "FusedMatMul": f"FusedMatMul <min, max> (a, b) => (y) {{ raw = MatMul (a, b)\n{_CLIP}",
    "FusedAdd": f"FusedAdd <min, max> (a, b) => (y) {{ raw = Add (a, b)\n{_CLIP}",
}
"""Function -> its body in onnx's text syntax."""

FUSED = {name.removeprefix("Fused"): name for name in BODIES}
"""Standard operator -> the function that clips its result."""
