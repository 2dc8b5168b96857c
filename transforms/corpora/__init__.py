"""Corpora in: one file per format, each with the same functions."""
