"""Reports as pages: one HTML file each, which loads nothing."""
