"""What passes and lowering read from an onnx-ir graph, and patterns that they find there."""
