"""Tag schemes and the way from tag probabilities to spans."""
