"""From a checkpoint to an engine: trace, fuse, quantize, and compare the two."""
