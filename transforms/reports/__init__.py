"""What people read of a run: pages, charts, summaries."""
