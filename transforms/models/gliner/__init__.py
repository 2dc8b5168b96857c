"""GLiNER as a tagger: entities of whatever labels it is asked for."""
