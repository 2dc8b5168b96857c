"""Counting and scoring: how good annotations are, and how sure that is."""
