"""Correlations, protocol, cross-database, ablation, tables."""
