"""Layers on the PoT accelerator."""
