"""Language models: what answers prompts, here or behind an endpoint."""
