"""Measurements side by side with peers; each prints the table that the README shows."""
