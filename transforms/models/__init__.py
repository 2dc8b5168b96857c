"""Taggers: models that find entities, and the checkpoints they are loaded from."""
