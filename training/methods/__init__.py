"""One file per way of choosing which weights to train."""
