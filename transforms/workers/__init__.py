"""Processes that work for a run: how they start, show that they live, and keep a bad document to themselves."""
