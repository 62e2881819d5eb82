"""Where the things of a scene stand: a function of the scene graph and its layout seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffagiqa.synth.grammar import BACKGROUNDS, KINDS, SIZE_FACTORS
from diffagiqa.synth.scene import Scene

# Height of the surface things stand on, or of the rim they look over, in the host's own units (-1
# top .. 1 bottom), as drawn in ``kinds``.
SURFACES = {"table": -0.28, "box": -0.42, "book": 0.12, "cake": -0.42}
RIMS = {"basket": -0.12, "bowl": 0.0, "cup": -0.62}


@dataclass(frozen=True, slots=True)
class Placement:
    """One thing on the canvas.

    Attributes:
        entity: position in ``Scene.entities``.
        x, y: centre, shares of the image's side from the left and from the top.
        scale: half the side of its square, a share of the image's side.
        flip: mirrored left to right.
        tilt: turned by this many radians.
        variant: decides how its kind varies.
    """

    entity: int
    x: float
    y: float
    scale: float
    flip: bool
    tilt: float
    variant: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """A box for the things of one entity: centre x, bottom y, width, height."""

    x: float
    bottom: float
    width: float
    height: float


# Columns and rows of a group's grid and the cells used, back row first; 3 and 5 stagger.
_GRIDS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.0, 0.0),),
    2: ((-0.5, 0.0), (0.5, 0.0)),
    3: ((-0.5, -1.0), (0.5, -1.0), (0.0, 0.0)),
    4: ((-0.5, -1.0), (0.5, -1.0), (-0.5, 0.0), (0.5, 0.0)),
    5: ((-1.0, -1.0), (0.0, -1.0), (1.0, -1.0), (-0.5, 0.0), (0.5, 0.0)),
}


def placements(scene: Scene) -> list[Placement]:
    """Every thing shown, in drawing order: what is in front comes last."""
    rng = np.random.default_rng(scene.layout_seed)
    predicate = scene.relations[0].predicate if scene.relations else ""
    cells = _cells(scene, predicate, rng)
    shown: list[Placement] = []
    for index in _drawing_order(scene, predicate):
        entity = scene.entities[index]
        child = np.random.default_rng((scene.layout_seed, index))
        shown += _fill(cells[index], index, entity.kind, entity.size, entity.count, scene, child)
    return shown


def _drawing_order(scene: Scene, predicate: str) -> list[int]:
    order = list(range(len(scene.entities)))
    if predicate in ("in front of", "on"):
        return [1, 0, *order[2:]]
    return order


def _cells(scene: Scene, predicate: str, rng: np.random.Generator) -> list[_Cell]:
    grounded = BACKGROUNDS[scene.background].grounded
    bottom = float(rng.uniform(0.88, 0.95) if grounded else rng.uniform(0.8, 0.92))
    number = len(scene.entities)
    shift = float(rng.uniform(-0.04, 0.04))
    if number == 1:
        return [_Cell(0.5 + shift, bottom, 0.88, 0.8)]
    if number == 3:
        xs = (0.18, 0.5, 0.82) if predicate == "left of" else (0.82, 0.5, 0.18)
        return [_Cell(x, bottom - float(rng.uniform(0, 0.06)), 0.32, 0.62) for x in xs]
    if predicate in ("left of", "right of"):
        left = _Cell(0.26, bottom - float(rng.uniform(0, 0.06)), 0.45, 0.72)
        right = _Cell(0.74, bottom - float(rng.uniform(0, 0.06)), 0.45, 0.72)
        return [left, right] if predicate == "left of" else [right, left]
    if predicate in ("above", "below"):
        x = 0.5 + 2 * shift
        upper, lower = _Cell(x, 0.47, 0.8, 0.43), _Cell(0.5 - 2 * shift, 0.95, 0.8, 0.43)
        return [upper, lower] if predicate == "above" else [lower, upper]
    if predicate in ("in front of", "behind"):
        side = float(rng.choice((-1.0, 1.0)))
        front = _Cell(0.5 + 0.17 * side, 0.97, 0.42, 0.42)
        back = _Cell(0.5 - 0.09 * side, 0.84, 0.74, 0.74)
        return [front, back] if predicate == "in front of" else [back, front]
    host = scene.entities[1].kind
    half = 0.3
    centre = 0.96 - half
    if predicate == "on":
        surface = centre + SURFACES.get(host, -0.4) * half
        room = 0.52 if scene.entities[0].count > 1 else 0.46
        return [
            _Cell(0.5 + shift, surface + 0.02, room, min(0.46, surface - 0.05)),
            _Cell(0.5 + shift, 0.96, 2 * half, 2 * half),
        ]
    rim = centre + RIMS.get(host, -0.2) * half
    room = 0.5 if scene.entities[0].count > 1 else 0.36
    return [
        _Cell(0.5 + shift, rim + 0.12, room, 0.42),
        _Cell(0.5 + shift, 0.96, 2 * half, 2 * half),
    ]


def _fill(
    cell: _Cell,
    index: int,
    kind: str,
    size: str,
    count: int,
    scene: Scene,
    rng: np.random.Generator,
) -> list[Placement]:
    if count == 0:
        return []
    grid = _GRIDS[count]
    columns = 1 + max(x for x, _ in grid) - min(x for x, _ in grid)
    rows = 1 + max(y for _, y in grid) - min(y for _, y in grid)
    pitch = min(cell.width / columns, cell.height / rows)
    factor = SIZE_FACTORS[size] / (1.3 if len(scene.entities) == 1 and count == 1 else 1.0)
    scale = 0.49 * pitch * min(factor * (1.15 if factor < 1 and count == 1 else 1.0), 1.0)
    floats = KINDS[kind].place == "air" or not BACKGROUNDS[scene.background].grounded
    rides = any(r.predicate in ("on", "in") for r in scene.relations)
    found = []
    for column, row in grid:
        lift = float(rng.uniform(0.0, 0.16)) * cell.height if floats and not rides else 0.0
        lift = min(lift, max(0.0, cell.height - rows * 2 * scale))
        found.append(
            Placement(
                entity=index,
                x=cell.x + column * pitch + float(rng.uniform(-0.04, 0.04)) * pitch,
                y=cell.bottom + row * pitch * 0.96 - scale * 0.97 - lift,
                scale=scale * float(rng.uniform(0.94, 1.0)),
                flip=bool(rng.random() < 0.5),
                tilt=float(rng.normal(0, 0.05 if floats else 0.015)),
                variant=int(rng.integers(2**31)),
            )
        )
    return found
