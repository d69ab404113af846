"""The tables and main numbers of `ff probe`, for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from featurefields.evaluation.probes import ProbeReport, TaskResult
    from featurefields.evaluation.probes.schedule import Task

SHARES = ("delta", "within", "recall", "miou", "accuracy", "mean_accuracy")
"""Beginnings of the names of numbers that are shares; tables show them in percent."""
TITLES: "Mapping[Task, str]" = {
    "depth": "depth of held-out pictures: rmse in metres",
    "normals": "normals of held-out pictures: degrees",
    "segmentation": "segmentation of held-out pictures",
    "correspondence": "correspondence between held-out views: recall of the surest matches",
}
MAIN: "Mapping[Task, str]" = {
    "depth": "rmse",
    "normals": "rmse",
    "segmentation": "miou",
    "correspondence": "recall 10px",
}
"""The one number of a task that the summary shows."""


def headline_rows(reports: "Mapping[str, ProbeReport]") -> dict[str, object]:
    """One number of every task, by extractor."""
    return {
        f"{task} {MAIN[task]}": {
            name: round(report.value(task, MAIN[task]), 4) for name, report in reports.items()
        }
        for task in _tasks(reports)
    }


def probe_tables(reports: "Mapping[str, ProbeReport]") -> "list[Table]":
    """A table for every task, one for recall by rotation and one for agreement between views."""
    from featurefields.evaluation.probes.report import HEADLINES

    tables = []
    for task in _tasks(reports):
        results = {name: report.result(task) for name, report in reports.items()}
        found = {name: result for name, result in results.items() if result is not None}
        tables.append(_table(f"{TITLES[task]} ({_rests_on(task, found)})", found, list(HEADLINES[task])))
        if task == "correspondence":
            tables.append(_rotation_table(found))
            tables.append(_agreement_table(found))
    return tables


def _tasks(reports: "Mapping[str, ProbeReport]") -> "list[Task]":
    return list(dict.fromkeys(found.task for report in reports.values() for found in report.results))


def _rotation_table(found: "Mapping[str, TaskResult]") -> "Table":
    """Recall at 10 px, a column a bin of rotation."""
    bins = [name for name in _names(found) if " at " in name]
    table = _empty(
        "recall at 10 px by rotation between the views", [f"{n.partition(' at ')[2]} %" for n in bins]
    )
    for extractor, result in found.items():
        table.add_row(short_name(extractor), *(_cell(result, name) for name in bins))
    return table


def _agreement_table(found: "Mapping[str, TaskResult]") -> "Table":
    """Agreement and contrast, a column a region; nothing in them is random."""
    regions = [name.partition(" ")[2] for name in _names(found) if name.startswith("agreement ")]
    table = _empty("features of one point in two views: mean cosine (contrast to other points)", regions)
    for extractor, result in found.items():
        pairs = [
            (result.mean(f"agreement {region}"), result.mean(f"contrast {region}")) for region in regions
        ]
        table.add_row(
            short_name(extractor),
            *(f"{same:.3f} ({apart:.3f})" if same == same else "-" for same, apart in pairs),
        )
    return table


def _names(found: "Mapping[str, TaskResult]") -> list[str]:
    return list(dict.fromkeys(name for result in found.values() for name in result.numbers))


def _rests_on(task: str, found: "Mapping[str, TaskResult]") -> str:
    """The counts of a task in words."""
    counts = next(iter(found.values())).counts
    if task == "correspondence":
        return f"{counts['pairs']:,} pairs, {counts['matches']:,} matches"
    return f"{counts['pictures']:,} pictures, {counts['pixels']:,} pixels, {counts['steps']:,} steps"


def _table(title: str, found: "Mapping[str, TaskResult]", names: list[str]) -> "Table":
    """A row an extractor, a column a number."""
    table = _empty(title, [f"{name} %" if name.startswith(SHARES) else name for name in names])
    for extractor, result in found.items():
        table.add_row(short_name(extractor), *(_cell(result, name) for name in names))
    return table


def _empty(title: str, headings: list[str]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="cyan", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cell(result: "TaskResult", name: str) -> str:
    mean, spread = result.mean(name), result.spread(name)
    if mean != mean:
        return "-"
    if name.startswith(SHARES):
        return f"{100 * mean:.1f} ± {100 * spread:.1f}"
    digits = 2 if abs(mean) >= 3 else 3
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def short_name(name: str) -> str:
    """An extractor's name without the folders of its argument."""
    kind, colon, argument = name.partition(":")
    return f"{kind}{colon}{argument.replace(chr(92), '/').rstrip('/').rpartition('/')[2]}"
