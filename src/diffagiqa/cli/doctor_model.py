"""What ``diffagiqa doctor --model X`` says of a model and its backbone, before a long download or job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

GOOD, NOTE = "ok", "note"  # note: usable, with something to know
MISSING, BAD = "missing", "bad"  # missing: something optional; bad: scoring fails


class Check(NamedTuple):
    """One line of the report; ``advice`` is empty where there is nothing to do."""

    topic: str
    state: str
    found: str
    advice: str = ""


def model_checks(name: str | None, dtype: Any, there: float) -> Iterator[Check]:
    """What there is to say of a model, or of a backbone, by folder or hub id; None: the package's model.

    ``there``: bytes of memory where it would be computed in ``dtype``, 0 if unknown. Of a hub id only
    small files are fetched.
    """
    from diffagiqa.errors import DiffAGIQAError

    try:
        from diffagiqa.backbones.folder import find_backbone
        from diffagiqa.pretrained import (
            DEFAULT_MODEL,
            WHAT_THE_DEFAULT_IS,
            find_model,
            load_config,
            outline,
        )
        from diffagiqa.rows import notice_of

        folder = DEFAULT_MODEL if name is None else find_model(name, weights=False)
        if not (folder / "config.json").is_file():
            backbone = find_backbone(str(name), weights=False)
            yield from backbone_checks(backbone, str(name), None, dtype, there)
            return
        model = outline(folder)
        tasks, size = ", ".join(model.tasks), model.image_size
        about = f"{folder}: {tasks}, images of {size} pixels, on {model.backbone}"
        if model.missing:
            yield Check("model", MISSING, f"{about}; not fetched: {', '.join(model.missing)}")
        else:
            notice = notice_of(load_config(folder))
            what = WHAT_THE_DEFAULT_IS if name is None else ""
            state = NOTE if notice else GOOD
            yield Check("model", state, about, " ".join(filter(None, [what, notice])))
        backbone = find_backbone(model.backbone, model.revision, weights=False)
        yield from backbone_checks(backbone, model.backbone, model.features, dtype, there)
    except (DiffAGIQAError, ImportError) as error:
        yield Check("model", BAD, "not usable", str(error))


def backbone_checks(
    folder: Path, name: str, features: Sequence[str] | None, dtype: Any, there: float
) -> Iterator[Check]:
    """Files, licence and memory of a diffusion model; nothing of a backbone of another kind."""
    from diffagiqa.backbones.folder import PIPELINES, kind_of
    from diffagiqa.backbones.memory import weight_bytes
    from diffagiqa.errors import BackboneError

    if (kind := kind_of(folder)) not in PIPELINES:
        return
    pipeline = PIPELINES[kind](folder)
    sums = weight_bytes(folder, dtype, features)
    licence = licence_of(folder) or f"{pipeline.backbone.licence}, if it is the original"
    about = f"{name}: {pipeline.backbone.__name__}; licence {licence}"
    if any(folder.rglob("*.safetensors")):
        try:
            pipeline.check(features)
            yield Check("backbone", GOOD, about)
        except BackboneError as error:
            yield Check("backbone", BAD, about, str(error))
    else:
        yield Check("backbone", MISSING, f"{about}; its weights are not here",
                    f"give its name where there is a network, or hf download {name}")  # fmt: skip
    yield memory_check(sums, str(dtype).removeprefix("torch."), there)


def memory_check(sums: dict[str, int], dtype: str, there: float) -> Check:
    """What weights take against the memory there is."""
    from diffagiqa.device import WORKING

    text = sum(size for part, size in sums.items() if part.startswith("text"))
    resident = sum(sums.values()) - text
    sizes = (
        f"weights in {dtype}: {resident / 1e9:.1f} GB, and {text / 1e9:.1f} GB of text encoders while "
        f"prompts are encoded; {there / 1e9:.0f} GB there"
    )
    if not there or resident + text + WORKING < there:
        return Check("memory", GOOD, sizes)
    if max(resident, text) + WORKING < there:
        advice = "not both at once: prompts are encoded first, which a job does by itself"
        return Check("memory", NOTE, sizes, advice)
    advice = "use bfloat16, a smaller backbone, or --offload (docs/which-model.md)"
    return Check("memory", BAD, sizes, advice)


def licence_of(folder: Path) -> str:
    """The licence that a model card names in its head, "" where there is none."""
    card = folder / "README.md"
    if not card.is_file() or card.stat().st_size > 1_000_000:
        return ""
    lines = card.read_text(encoding="utf-8", errors="replace").splitlines()
    head = lines[1 : lines.index("---", 1)] if lines[:1] == ["---"] and "---" in lines[1:] else []
    named = dict(
        line.split(":", 1) for line in head if line.startswith(("license", "license_name"))
    )
    return (named.get("license_name") or named.get("license", "")).strip()
