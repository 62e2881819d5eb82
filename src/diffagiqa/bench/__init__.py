"""How fast this machine scores: images per second, seconds and memory per stage, the released path."""
