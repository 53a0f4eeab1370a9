"""Matrix products, one kernel a family of operands."""
