"""Labelled files in jobs: gold as it is read, what ails it, and gates that are judged by it."""
