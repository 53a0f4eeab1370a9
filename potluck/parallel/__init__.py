"""Long lists of independent tasks: who runs them, and a folder from which a killed run goes on.

Fault campaigns (`potluck.campaign`) and sweeps (`potluck.sweeps`) are such lists.
"""
