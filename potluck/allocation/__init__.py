"""SigmaQuant (arXiv 2602.22136): formats for single layers under targets of size, bit operations, cycles or energy."""
