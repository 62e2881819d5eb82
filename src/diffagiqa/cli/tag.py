"""``diffagiqa tag``: scores into the images' own metadata, and out again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from diffagiqa.data.wording import counted

_MOST_FAULTS = 20  # lines on standard error


def tag(
    scores: Annotated[
        Path,
        typer.Argument(help="Scores, as diffagiqa score --out wrote them: a file or a folder."),
    ],
    root: Annotated[
        Path | None,
        typer.Option(help="Folder of the images. Default: where the scores say that they lie."),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            help="TASK=NUMBER, its weight in the rating; may be repeated. Default: as in rank."
        ),
    ] = None,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Write .xmp files beside the images, which stay.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take out what an earlier run has written.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no summary.")] = False,
) -> None:
    """Write scores into PNG, JPEG and WebP images as XMP, for viewers and photo managers.

    xmp:Rating is 1 to 5 stars, by fifths of the mean score; the scores stand beside it. Pixels and all
    other metadata stay byte for byte, and --remove undoes it.

    Exit code: 0 if every scored image was tagged, 1 if some were not, 2 for wrong use.

    Examples:
        diffagiqa tag scores.csv
        diffagiqa tag scores.csv --weight alignment=1 --sidecar
        diffagiqa tag scores.csv --remove
    """
    from diffagiqa.cli.rank import parse_weights
    from diffagiqa.errors import ConfigError, printable
    from diffagiqa.report.runs import read_run
    from diffagiqa.report.tag import tag_images, untag_images

    if remove and (weight or sidecar):
        raise ConfigError("--remove takes out everything; give it without --weight and --sidecar")
    run = read_run(scores)
    weights = parse_weights(weight)
    done = failed = 0
    for outcome in (
        untag_images(run, root)
        if remove
        else tag_images(run, root=root, weights=weights, sidecar=sidecar)
    ):
        if outcome.fault is None:
            done += 1
            continue
        failed += 1
        if failed <= _MOST_FAULTS:
            typer.echo(f"{printable(outcome.image)}: {outcome.fault}", err=True)
        elif failed == _MOST_FAULTS + 1:
            typer.echo("... and more", err=True)
    unscored = 0 if remove else len(run.rows) - len(run.scored)
    if as_json:
        typer.echo(json.dumps({"done": done, "failed": failed, "without_scores": unscored}))
    elif not quiet:
        what = "without our properties now" if remove else "tagged"
        left = f"; {counted(unscored, 'row')} without scores passed over" if unscored else ""
        typer.echo(f"{done:,} of {counted(done + failed, 'row')} {what}{left}")
    raise typer.Exit(1 if failed else 0)
