"""Training: prompters, pyramid and heads learn; the diffusion model stays frozen."""
