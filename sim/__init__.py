"""What happens when a program runs: interpreter, timing, cluster, DMA, energy."""
