"""Dictionaries of names as a tagger: what stands in a list is found wherever a text has it."""
