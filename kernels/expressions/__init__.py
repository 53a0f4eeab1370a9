"""Elementwise expressions, declared once: a graph of machine operations that is both NumPy contract and code.

`graph` says what an expression is, `meaning` evaluates it in NumPy, `emit` selects instructions and allocates
registers, `functions` composes what one instruction does not do (exp, erf, ...).
"""
