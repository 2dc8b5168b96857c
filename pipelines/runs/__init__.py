"""Runs of `spanmill annotate`: their options, how they begin and end, and how other jobs open them."""
