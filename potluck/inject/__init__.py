"""Fault injection into networks: DRAM to decoded weights to the network's answers."""
