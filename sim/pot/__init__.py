"""The PoT accelerator: the array behind its streams, cycles of v12 and of ours, and ours as a part of the cluster."""
