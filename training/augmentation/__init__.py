"""One file per way to make further training sentences from those there are."""
