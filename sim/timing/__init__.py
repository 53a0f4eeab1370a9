"""Cycles and joules of instructions: classes, the timer and its rows, banks, bounds, and what is known of the error."""
