"""Two benchmarks on equal terms: the full method, its ablations, and baselines on the same splits."""
