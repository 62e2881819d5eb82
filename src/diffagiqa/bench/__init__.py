"""How fast scoring and training are on this device, and what each optimisation gives."""
