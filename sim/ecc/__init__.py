"""Error-correcting codes and value-level protection of DRAM blocks, bit-exact (docs/ecc.md)."""
