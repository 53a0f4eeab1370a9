"""Random programs made from the instruction table, run here and on Spike; docs/differential.md says how."""
