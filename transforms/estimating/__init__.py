"""What a run will take, from a sample that was measured."""
