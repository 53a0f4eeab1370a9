"""Convolutions, one kernel a family of operands."""
