"""SystemVerilog units from Python: their sources, the tools that are installed, builds, benches.

:mod:`~potluck.hdl.sources` reads ``rtl/units.toml``, :mod:`~potluck.hdl.toolchain` finds the tools and
:mod:`~potluck.hdl.build` makes libraries and cocotb benches of a unit, once per content.
"""
