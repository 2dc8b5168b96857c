"""From options to what annotates."""
