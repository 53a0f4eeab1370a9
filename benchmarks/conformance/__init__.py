"""The node cases that ONNX generates, through compiler and simulator: ``python -m potluck.benchmarks.conformance``.

`cases` says what a case is and which are out of scope, `running` runs them, `page` keeps docs/conformance.md.
"""
