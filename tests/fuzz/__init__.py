"""Coverage-guided fuzzing of what reads files: ONNX, ELF, TOML, and results (JSON, npz, journals).

`targets` says what is read and with what it begins, `mutate` how inputs of each kind are changed so that they
stay nearly
right, `process` runs libFuzzer (atheris) in a process of its own, `campaign` keeps such processes going and counts.
"""
