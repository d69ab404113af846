"""Tables of what edits do, and the numbers that are compared with the goals."""

import sys
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING

from benchmarks.edits.measurement import PERFECT, Row
from benchmarks.edits.recolouring import Recoloured
from featurefields.evaluation.regions import METAL

if TYPE_CHECKING:
    from rich.console import Console

EDITED = {"field": "remove", "baked": "--splat, photos", "ordinary": "--splat, photos"}
"""The edit that stands for each subject."""
RIVALS = {"no edit": ("field", "none"), "no bands": ("ordinary", "drop bands"), "baked": ("baked", "none")}
"""What removal from the field has to beat: (subject, edit)."""


def show(
    rows: Sequence[Row], recoloured: Sequence[Recoloured], facts: Mapping[str, object]
) -> dict[str, float]:
    """Tables on stdout, and the summary that they end with."""
    from rich.console import Console

    console = Console(file=sys.stdout, width=160)
    for label, value in facts.items():
        console.print(f"{label}: {value}")
    for subject in dict.fromkeys(row.subject for row in rows):
        for chosen in dict.fromkeys(row.chosen for row in rows if row.subject == subject):
            part = [row for row in rows if (row.subject, row.chosen) == (subject, chosen)]
            _show_subject(console, part, f"{subject}, chosen by {chosen}")
    _show_goals(console, rows)
    _show_metals(console, rows)
    _show_recoloured(console, recoloured)
    summary = summarise(rows) | textures(recoloured)
    for label, value in summary.items():
        console.print(f"{label}: {_number(value)}")
    return summary


def _show_subject(console: "Console", rows: Sequence[Row], title: str) -> None:
    """Every object and edit of one subject."""
    from rich.table import Table

    edits = list(dict.fromkeys(row.edit for row in rows))
    table = Table("object", "material", *edits, "most outside", title=f"{title}: dB against diffuse/")
    for name in dict.fromkeys(row.object for row in rows):
        own = [row for row in rows if row.object == name]
        shown = {row.edit: row.diffuse_db for row in own}
        moved = [row.outside_db for row in own if isfinite(row.outside_db) and row.edit != PERFECT]
        values = [shown.get(edit, nan) for edit in edits] + [max(moved, key=abs, default=nan)]
        table.add_row(name, own[0].material, *map(_number, values))
    console.print(table)


def _show_goals(console: "Console", rows: Sequence[Row]) -> None:
    """Removal from the field beside its rivals and the most there is to gain, object by object."""
    from rich.table import Table

    table = Table(
        "object", "material", *RIVALS, "remove", "gain", "perfect", "outside", "ordinary", "edited", "gain",
        title="removal from the field against its rivals, from an ordinary splat beside it",
    )  # fmt: skip
    for name, material in dict.fromkeys((row.object, row.material) for row in rows):
        found = {(row.subject, row.edit): row for row in rows if row.object == name and row.chosen == "masks"}
        decibels = {key: row.diffuse_db for key, row in found.items()}
        edited = decibels.get(("field", EDITED["field"]), nan)
        plain, tamed = (decibels.get(("ordinary", edit), nan) for edit in ("none", EDITED["ordinary"]))
        moved = found.get(("field", EDITED["field"]))
        values = [decibels.get(key, nan) for key in RIVALS.values()]
        values += [
            edited,
            edited - decibels.get(("field", "none"), nan),
            decibels.get(("field", PERFECT), nan),
        ]
        values += [moved.outside_db if moved else nan, plain, tamed, tamed - plain]
        table.add_row(name, material, *map(_number, values))
    console.print(table)


def _show_metals(console: "Console", rows: Sequence[Row]) -> None:
    from rich.table import Table

    metals = [row for row in rows if row.material == METAL and isfinite(row.albedo_db)]
    metals = [row for row in metals if row.chosen == "masks" and row.edit != PERFECT]
    if not metals:
        return
    table = Table("metal", "subject", "edit", "diffuse dB", "albedo dB")
    for row in metals:
        table.add_row(row.object, row.subject, row.edit, _number(row.diffuse_db), _number(row.albedo_db))
    console.print(table)


def _show_recoloured(console: "Console", recoloured: Sequence[Recoloured]) -> None:
    from rich.table import Table

    if not recoloured:
        return
    table = Table("object", "material", "layer", "texture", "hue", "outside dB", title="recoloured")
    for each in recoloured:
        numbers = (f"{each.texture:.3f}", f"{each.hue:.3f}", f"{each.outside_db:+.3f}")
        table.add_row(each.object, each.material, each.layer, *numbers)
    console.print(table)


def summarise(rows: Sequence[Row]) -> dict[str, float]:
    """Mean gains of each subject's edit over the field and itself as they are, without metals and by material."""
    rows = [row for row in rows if row.edit != PERFECT]
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


def textures(recoloured: Sequence[Recoloured]) -> dict[str, float]:
    """Median and least texture kept and most change outside, by layer."""
    summary: dict[str, float] = {}
    for layer in dict.fromkeys(each.layer for each in recoloured):
        own = [each for each in recoloured if each.layer == layer]
        kept = sorted(each.texture for each in own if isfinite(each.texture))
        moved = [abs(each.outside_db) for each in own if isfinite(each.outside_db)]
        summary[f"texture kept, median object, recolour {layer}"] = kept[len(kept) // 2] if kept else nan
        summary[f"texture kept, worst object, recolour {layer}"] = min(kept, default=nan)
        summary[f"most change outside, recolour {layer}"] = max(moved, default=nan)
    return summary


def mean_gain(rows: Sequence[Row], edit: str) -> float:
    """Mean over objects of how much nearer to the diffuse pictures an edit comes, in dB; NaN without an object."""
    before = {row.object: row.diffuse_db for row in rows if row.edit == "none"}
    gains = [row.diffuse_db - before[row.object] for row in rows if row.edit == edit]
    gains = [gain for gain in gains if isfinite(gain)]
    return sum(gains) / len(gains) if gains else nan


def _number(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "–"
