"""What an earlier run found in a text, for a run that meets the same text again."""
