"""What a person types and sees: options, logs, signals, progress."""
