"""Samples, safe image decoding, prompts from metadata, databases and splits."""
