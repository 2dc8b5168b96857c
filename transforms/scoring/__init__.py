"""Counting, scoring and reporting."""
