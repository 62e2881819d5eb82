"""The made world, its defects, its observers, and the small text-to-image model."""
