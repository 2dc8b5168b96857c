"""Small checkpoints: what was trained beside a base model, and how the two become one again."""
