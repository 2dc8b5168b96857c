"""Several taggers of which one answers for each text, and who chooses it."""
