"""Quality and prompt alignment of AI-generated images, by a frozen text-to-image diffusion model."""

__version__ = "0.1.0"
