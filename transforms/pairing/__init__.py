"""Bringing gold and predicted annotations of the same documents together."""
