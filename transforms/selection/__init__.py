"""Which documents of a run are worth labelling."""
