"""The method on tensors: no paths, no flags, no global randomness."""
