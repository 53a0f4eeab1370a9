"""What a quantized network is worth on data: samples, task metrics with intervals, and the noise of each layer."""
