"""``potluck formats``: a network in every format, side by side."""
