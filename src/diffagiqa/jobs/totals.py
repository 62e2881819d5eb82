"""Counts and means over any number of rows, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_COUNTS = ("rows", "failed", "no_prompt", "cut", "unfamiliar")


@dataclass
class Totals:
    """Rows, failures and, per score column, number, sum, least and greatest.

    ``cut`` are prompts that were not read to their end. ``passed_over`` counts files of the folders that
    are no rows, by suffix; a command fills it in.
    """

    columns: tuple[str, ...]
    rows: int = 0
    failed: int = 0
    no_prompt: int = 0
    cut: int = 0
    unfamiliar: int = 0
    chunks: int = 0
    scores: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)

    def add_chunk(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.chunks += 1
        for row in rows:
            self.rows += 1
            self.no_prompt += row.get("prompt_source") == "none" and not row.get("error")
            self.cut += bool(row.get("prompt_read"))
            self.unfamiliar += bool(row.get("unfamiliar"))
            if row.get("error"):
                self.failed += 1
                self._add_error(str(row["error"]), 1)
            for name in self.columns:
                if (value := row.get(name)) is not None:
                    self._add(name, 1, value, value, value)

    def add_part(self, part: Mapping[str, Any]) -> None:
        """Add what ``as_dict`` gave for a part."""
        self.chunks += len(part["chunks"])
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + int(part[name]))
        for name, (count, total, least, most) in part["scores"].items():
            self._add(name, count, total, least, most)
        for error, count in part["errors"].items():
            self._add_error(error, count)

    def _add(self, name: str, count: float, total: float, least: float, most: float) -> None:
        old = self.scores.setdefault(name, [0, 0.0, least, most])
        self.scores[name] = [old[0] + count, old[1] + total, min(old[2], least), max(old[3], most)]

    def _add_error(self, error: str, count: int) -> None:
        if error in self.errors or len(self.errors) < 5:  # a few to show, never one per row
            self.errors[error] = self.errors.get(error, 0) + count

    def mean(self, name: str) -> float | None:
        count, total, *_ = self.scores.get(name, [0, 0.0])
        return total / count if count else None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_COUNTS, "scores", "errors")}
