"""Checkpoints kept by digest, their history, and what is thrown away."""
