"""Weights on their way to a product: from the codes that DRAM holds to what the product reads."""
