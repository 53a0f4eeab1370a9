"""Layers with kernels, tiles and addresses: what is joined, what overlaps, where things lie, the file that says it."""
