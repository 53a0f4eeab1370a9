"""Runs as they were written down: how to do one again, and how several differ."""
