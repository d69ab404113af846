"""The tables and main numbers of `ff bench`, for people."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from .protocols import MaskRow
from .protocols_text import PhraseRow

if TYPE_CHECKING:
    from rich.table import Table

    from .protocols_clicks import ClickResults, UserTable

Found = Sequence[MaskRow] | Sequence[PhraseRow]


def click_rows(found: "ClickResults") -> dict[str, object]:
    """The few numbers that tell most, by label and kind of features."""
    objects = {
        name: table.region("objects") or table.regions[0]
        for name, table in found.single.items()
        if table.regions
    }
    goal = "85 IoU"
    return {
        "click mIoU": {name: round(row.iou, 4) for name, row in objects.items()},
        "click mIoU with best threshold": {name: round(row.oracle, 4) for name, row in objects.items()},
        f"mean clicks to {goal}": {name: round(table.mean_clicks, 3) for name, table in found.user.items()},
        f"share that reaches {goal}": {name: round(table.reached, 4) for name, table in found.user.items()},
        "mIoU after each click": {
            name: [round(iou, 4) for iou in table.mean_ious] for name, table in found.user.items()
        },
        "ms a click": {
            name: round(table.median_ms, 1)
            for name, table in found.user.items()
            if table.median_ms is not None
        },
    }


def click_tables(found: "ClickResults") -> "list[Table]":
    """What the user reaches on every object, and on average after every click."""
    return [_objects_table(found), _clicks_table(found.user)]


def _objects_table(found: "ClickResults") -> "Table":
    table = _empty(
        "one click: IoU, with the best threshold (best); and how many clicks reach 85 IoU (clicks)"
    )
    table.add_column("material", no_wrap=True)
    for name in found.user:
        for heading in (name, "best", "clicks"):
            table.add_column(heading, justify="right", no_wrap=True)
    first = next(iter(found.user.values()))
    for place, row in enumerate(first.rows):
        cells: list[str] = []
        for name, user in found.user.items():
            single, own = found.single[name].objects[place], user.rows[place]
            count = str(own.clicks) if own.clicks else f"over {len(own.ious)}"
            cells += [_decimal(single.iou), _decimal(single.oracle), count]
        table.add_row(row.name, row.material, *cells)
    table.add_section()
    cells = []
    for name, user in found.user.items():
        mean = found.single[name].region("objects") or found.single[name].regions[0]
        cells += [_decimal(mean.iou), _decimal(mean.oracle), f"{user.mean_clicks:.2f}"]
    table.add_row("mean", "", *cells)
    return table


def _clicks_table(user: "Mapping[str, UserTable]") -> "Table":
    table = _empty("simulated user: mIoU after each click, clicks to 85 IoU, share that gets there")
    most = max(entry.most for entry in user.values())
    for number in range(1, most + 1):
        table.add_column(str(number), justify="right", no_wrap=True)
    for heading in ("clicks", "share", "ms a click"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, entry in user.items():
        ms = "-" if entry.median_ms is None else f"{entry.median_ms:.0f}"
        cells = [_decimal(iou) for iou in entry.mean_ious]
        table.add_row(name, *cells, f"{entry.mean_clicks:.2f}", f"{entry.reached:.0%}", ms)
    return table


def mask_rows(found: Found) -> dict[str, object]:
    """Means by the way to a mask and kind of features: over objects; over scenes' means, where phrases are asked."""
    rows: dict[str, object] = {}
    numbers = {"mIoU": "iou", "accuracy": "accuracy", "localisation accuracy": "localised"}
    for label, number in numbers.items():
        if not any(hasattr(row, number) for row in found):
            continue
        for way in dict.fromkeys(row.way for row in found):
            values = {
                features: _over_scenes(found, features, way, number)
                for features in dict.fromkeys(row.features for row in found)
            }
            rows[f"{label} {way}"] = {name: round(value, 4) for name, value in values.items()}
    return rows


def _over_scenes(found: Found, features: str, way: str, number: str) -> float:
    """For phrases, the mean over scenes of their means; else the mean over all objects. NaN does not count."""
    chosen = [row for row in found if (row.features, row.way) == (features, way)]
    groups: dict[str, list[float]] = {}
    for row in chosen:
        value = getattr(row, number)
        if value == value:
            groups.setdefault(row.scene if isinstance(row, PhraseRow) else "", []).append(value)
    return fmean(fmean(values) for values in groups.values()) if groups else float("nan")


def mask_tables(found: Found) -> "list[Table]":
    """IoU of every object (phrase: mean over frames), by kind of features and way to a mask."""
    table = _empty("IoU from the reference")
    kinds = list(dict.fromkeys((row.features, row.way) for row in found))
    for features, way in kinds:
        table.add_column(f"{features}, {way}", justify="right", no_wrap=True)
    several = len({row.scene for row in found}) > 1
    groups: dict[str, dict[tuple[str, str], list[float]]] = {}
    for row in found:
        name = f"{row.scene}: {row.name}" if several else row.name
        groups.setdefault(name, {}).setdefault((row.features, row.way), []).append(row.iou)
    for name, values in groups.items():
        table.add_row(name, *(_decimal(_mean(values.get(kind, ()))) for kind in kinds))
    table.add_section()
    table.add_row("mean", *(_decimal(_over_scenes(found, *kind, "iou")) for kind in kinds))
    return [table]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return fmean(known) if known else float("nan")


def _decimal(value: float) -> str:
    return f"{value:.3f}" if value == value else "-"


def _empty(title: str) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="cyan", no_wrap=True)
    return table
