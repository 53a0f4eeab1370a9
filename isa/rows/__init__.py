"""Rows of the instruction table, one file per extension; ``potluck.isa.table`` collects each module's ``ROWS``."""
