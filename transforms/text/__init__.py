"""From characters to batches: tokens, windows, packing, stitching, offsets."""
