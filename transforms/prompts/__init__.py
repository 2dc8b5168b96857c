"""Prompts: templates, examples, answers and what of them stands in the text."""
