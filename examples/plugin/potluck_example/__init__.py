"""What docs/extending.md shows, as a package."""

from pathlib import Path

MACHINES = Path(__file__).parent / "machines"
DRAM = Path(__file__).parent / "dram"
