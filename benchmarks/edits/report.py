"""Tables of what edits do, and the means that are compared with the goals."""

import sys
from collections.abc import Sequence
from math import isfinite, nan

from benchmarks.edits.measurement import Row
from featurefields.evaluation.regions import METAL

EDITED = {"field": "remove", "baked": "--splat, photos", "ordinary": "--splat, photos"}
"""The edit that stands for each subject."""


def show(rows: Sequence[Row], facts: dict[str, object]) -> dict[str, float]:
    """Tables on stdout, and the summary that they end with."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=160)
    for label, value in facts.items():
        console.print(f"{label}: {value}")
    for subject in dict.fromkeys(row.subject for row in rows):
        for chosen in dict.fromkeys(row.chosen for row in rows if row.subject == subject):
            part = [row for row in rows if (row.subject, row.chosen) == (subject, chosen)]
            edits = list(dict.fromkeys(row.edit for row in part))
            table = Table(
                "object", "material", *edits, "most outside", title=f"{subject}, chosen by {chosen}"
            )
            for name in dict.fromkeys(row.object for row in part):
                table.add_row(*_cells([row for row in part if row.object == name], edits))
            console.print(table)
    metals = [
        row for row in rows if row.material == METAL and row.chosen == "masks" and isfinite(row.albedo_db)
    ]
    if metals:
        table = Table("metal", "subject", "edit", "albedo dB")
        for row in metals:
            table.add_row(row.object, row.subject, row.edit, _number(row.albedo_db))
        console.print(table)
    summary = summarise(rows)
    for label, value in summary.items():
        console.print(f"{label}: {_number(value)}")
    return summary


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """Mean gains of each subject's edit over the field and itself as they are, without metals and by material."""
    summary: dict[str, float] = {}
    for chosen in dict.fromkeys(row.chosen for row in rows):
        part = [row for row in rows if row.chosen == chosen]
        materials = dict.fromkeys(row.material for row in part if row.material and row.material != METAL)
        for subject in dict.fromkeys(row.subject for row in part):
            own = [row for row in part if row.subject == subject]
            for group in ("no metal", *materials):
                kept = [row for row in own if row.material in materials or not row.material]
                kept = [row for row in kept if group in ("no metal", row.material)]
                summary[f"gain of {subject}, {chosen}, {group}"] = mean_gain(kept, EDITED[subject])
            moved = [
                abs(row.outside_db) for row in own if row.edit == EDITED[subject] and isfinite(row.outside_db)
            ]
            summary[f"most change outside, {subject}, {chosen}"] = max(moved, default=nan)
    return summary


def mean_gain(rows: Sequence[Row], edit: str) -> float:
    """Mean over objects of how much nearer to the diffuse pictures an edit comes, in dB; NaN without an object."""
    before = {row.object: row.diffuse_db for row in rows if row.edit == "none"}
    gains = [row.diffuse_db - before[row.object] for row in rows if row.edit == edit]
    gains = [gain for gain in gains if isfinite(gain)]
    return sum(gains) / len(gains) if gains else nan


def _cells(rows: Sequence[Row], edits: Sequence[str]) -> list[str]:
    shown = {row.edit: row.diffuse_db for row in rows}
    moved = [row.outside_db for row in rows if isfinite(row.outside_db)]
    values = [shown.get(edit, nan) for edit in edits] + [max(moved, key=abs, default=nan)]
    return [rows[0].object, rows[0].material, *map(_number, values)]


def _number(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "–"
