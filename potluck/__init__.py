"""Potluck: compile ONNX networks to a modeled RISC-V VMXDOTP machine and run them bit-exactly.

The names below are loaded on first use, so that ``import potluck`` stays cheap.
"""

__version__ = "0.1.0"
