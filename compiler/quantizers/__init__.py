"""Quantizers: from FP32 weights, or from what other tools wrote, to codes and scales; pure NumPy, no graph."""
