"""The tables of `ff eval`, for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from .eval import Evaluation

Column = tuple[str, str, Callable[[Any], float]]
"""Heading, format, and the number of a row."""

PICTURES: tuple[Column, ...] = (
    ("PSNR", ".2f", lambda row: row.psnr_db),
    ("SSIM", ".3f", lambda row: row.ssim),
    ("photo → diffuse dB", ".2f", lambda row: row.photo_as_diffuse_db),
    ("indep → diffuse dB", ".2f", lambda row: row.indep_as_diffuse_db),
)
LIGHT: tuple[Column, ...] = (
    ("normals °", ".1f", lambda row: row.normal_deg),
    ("rough", ".2f", lambda row: row.roughness),
    ("true", ".2f", lambda row: row.true_roughness),
    ("reflective", ".1%", lambda row: row.reflective_share),
    ("highlights AP", ".3f", lambda row: row.highlight_ap),
    ("chance", ".3f", lambda row: row.highlight_share),
)


def evaluation_tables(found: "Evaluation") -> "list[Table]":
    """Every table that has a number."""
    rows = found.colour.rows
    sections = [rows.regions, rows.materials, rows.objects]
    tables = [_table("pictures", sections, PICTURES), _table("surfaces and light", sections, LIGHT)]
    if found.clicks:
        tables.append(_compared("one click: IoU, and with the best threshold", found.clicks, _click_columns))
    if found.agreement:
        title = "features: cosine of indep with the diffuse picture's, of total with the photo's"
        tables.append(_compared(title, found.agreement, _agreement_columns))
    return tables


def _compared(title: str, tables: Mapping[str, Any], columns: Callable[[str], list[Column]]) -> "Table":
    """One table of several whose rows are the same: a row holds the rows of all, by the table's name."""
    first = next(iter(tables.values()))
    sections = [
        [
            {name: getattr(table, part)[place] for name, table in tables.items()}
            for place in range(len(getattr(first, part)))
        ]
        for part in ("regions", "materials", "objects")
    ]
    return _table(title, sections, [column for name in tables for column in columns(name)])


def _click_columns(name: str) -> list[Column]:
    return [(name, ".3f", lambda row: row[name].iou), ("best", ".3f", lambda row: row[name].oracle)]


def _agreement_columns(name: str) -> list[Column]:
    return [
        (f"{name} indep", ".3f", lambda row: row[name].indep),
        (f"{name} total", ".3f", lambda row: row[name].total),
    ]


def _table(title: str, sections: Sequence[Sequence[Any]], columns: Sequence[Column]) -> "Table":
    """A table of the rows, sections apart; columns and sections without a number are left out."""
    from rich import box
    from rich.table import Table

    every = [row for section in sections for row in section]
    shown = [column for column in columns if any(column[2](row) == column[2](row) for row in every)]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="cyan", no_wrap=True)
    table.add_column("material", no_wrap=True)
    for heading, _, _ in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for section in sections:
        for row in section:
            about = next(iter(row.values())) if isinstance(row, dict) else row
            values = [(value, form) for _, form, number in shown for value in [number(row)]]
            cells = [format(value, form) if value == value else "-" for value, form in values]
            material = about.material if about.material != about.name else ""
            table.add_row(about.name, material, *cells)
        if section:
            table.add_section()
    return table
