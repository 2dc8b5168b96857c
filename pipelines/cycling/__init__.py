"""A cycle: its file, what is checked before it begins, and its steps."""
