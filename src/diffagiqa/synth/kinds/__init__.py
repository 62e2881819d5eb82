"""How every kind is drawn; ``BUILDERS`` maps its name to a function of a generator giving its parts."""

from diffagiqa.synth.kinds.animals import ANIMALS
from diffagiqa.synth.kinds.household import HOUSEHOLD
from diffagiqa.synth.kinds.pets import PETS
from diffagiqa.synth.kinds.plants import PLANTS
from diffagiqa.synth.kinds.toys import TOYS
from diffagiqa.synth.kinds.travel import TRAVEL
from diffagiqa.synth.shapes import Builder

BUILDERS: dict[str, Builder] = {**ANIMALS, **HOUSEHOLD, **PETS, **PLANTS, **TOYS, **TRAVEL}

__all__ = ["BUILDERS"]
