"""How one operator runs on the machine: kernel generators, each with a NumPy body as its contract."""
