"""Coverage of linear codes over error patterns in the data: exactly by counting cosets, and by Monte Carlo."""
