"""The frozen parts: a diffusion model in diffusers format behind one interface."""
