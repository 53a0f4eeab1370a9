"""``potluck sweep``: one network on every machine of a cross product of keys."""
