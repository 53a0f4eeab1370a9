"""What stands around kernels: start and end, barriers, files, processes."""
