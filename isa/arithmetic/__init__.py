"""Arithmetic to the bit: rounding, exact results and flags, the language of instructions' meanings."""
