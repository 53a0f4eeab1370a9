"""The project's own figures; each module prints JSON rows."""
