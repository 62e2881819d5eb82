"""The package's own small text-to-image diffusion model, trained from scratch: ``diffagiqa pretrain``."""
