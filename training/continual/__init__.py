"""Learning without forgetting: what is added to a training for the sake of what its base knew."""
