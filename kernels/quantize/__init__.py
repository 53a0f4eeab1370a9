"""FP32 to codes and scales on the machine."""
