"""RangeGuard (arXiv 2605.04563): check bits over range identifiers (RIDs) of values instead of over their bits.

What the paper's public artifact fixes is reproduced; `rgx` and `mx_invariant` are ours.
"""
