"""What a run has written, and what it has done, for the next job and for those who watch."""
