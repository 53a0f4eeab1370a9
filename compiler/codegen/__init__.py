"""Machine code of a schedule, for clusters with L1 and DMA and for cores without, and its records of tiles."""
