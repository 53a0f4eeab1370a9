"""Fault-injection campaigns: a question in a TOML file, an answer with an interval."""
