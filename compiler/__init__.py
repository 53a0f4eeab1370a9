"""How a network becomes a program: ONNX import, graph passes, quantizers, tiling, code generation."""
