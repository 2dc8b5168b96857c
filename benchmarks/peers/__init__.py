"""What `benchmarks.throughput` compares, one file each: every contender reads Parquet and writes Parquet in a process
of its own."""
