"""Golden runs kept as checkpoints, and faulty runs that begin at one: for fault-injection campaigns."""
