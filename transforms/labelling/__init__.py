"""Documents on their way into labelling tools and back."""
