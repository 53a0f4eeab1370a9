"""Runs watched instruction by instruction: records, profile, trace, listing."""
