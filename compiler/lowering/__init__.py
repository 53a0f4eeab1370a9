"""From an operator to a layer: one file per family, each choosing its tiles and laying out its operands."""
