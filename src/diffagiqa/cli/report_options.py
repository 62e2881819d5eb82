"""Flags that rank and report share."""

from __future__ import annotations


def parse_weights(items: list[str] | None) -> dict[str, float] | None:
    """``["alignment=2", "perception=1"]`` -> weights by task; None where nothing was given.

    >>> parse_weights(["alignment=2"])
    {'alignment': 2.0}
    """
    from diffagiqa.errors import ConfigError

    weights = {}
    for item in items or []:
        task, equals, value = item.partition("=")
        try:
            weights[task.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--weight is {item!r}; write TASK=NUMBER, such as alignment=2")
    return weights or None
