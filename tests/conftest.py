"""Shared test settings."""

from hypothesis import settings

# No test asserts a time: a busy machine is no reason to fail.
settings.register_profile("potluck", deadline=None)
settings.load_profile("potluck")
