"""Hostile programs: whatever a simulated program does, the host stays whole; docs/robustness.md says how."""
