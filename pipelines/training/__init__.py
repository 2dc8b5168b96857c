"""A training: its options, its files, its checks, and what it does with one seed."""
