"""Scores over HTTP, on Ray Serve."""
