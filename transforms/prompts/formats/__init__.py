"""Formats of answers, a file each."""
