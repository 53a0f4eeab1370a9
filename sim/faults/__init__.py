"""Faults of DRAM: models, footprints in device coordinates, files, and memory with its protection."""
