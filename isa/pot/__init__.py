"""The PoT accelerator's contract: weight codes, arithmetic of the array, commands, streams, cycles."""
