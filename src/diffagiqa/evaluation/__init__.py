"""Agreement with opinion scores: correlations, protocol, published figures, tables."""
