"""Number formats: elements, blocks with scales, Bell Box codes, and how numbers become codes."""
