"""What a shell offers when Tab is pressed: values of options, besides what typer knows itself.

``potluck --install-completion`` sets it up in bash, zsh, fish and PowerShell.
"""

from __future__ import annotations


def machines(incomplete: str) -> list[str]:
    """Machine presets."""
    from potluck.isa.machine import presets

    return [name for name in presets() if name.startswith(incomplete)]


def schemes(incomplete: str) -> list[str]:
    """Quantization schemes."""
    from potluck.compiler.schemes import schemes as known

    return [name for name in known() if name.startswith(incomplete)]


def networks(incomplete: str) -> list[str]:
    """Networks of the zoo."""
    from potluck.zoo import registry

    return [name for name in (*registry.PLACES, *registry.LIGHT) if name.startswith(incomplete)]


def benchmarks(incomplete: str) -> list[str]:
    """Benchmarks."""
    from potluck.benchmarks import BENCHMARKS

    return [name for name in BENCHMARKS if name.startswith(incomplete)]


def modes(incomplete: str) -> list[str]:
    """Modes of a simulation."""
    return [name for name in ("timed", "functional", "traced", "rtl") if name.startswith(incomplete)]
