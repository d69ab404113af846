"""Lifting posed photos without fitting, source of geometry by source.

- depth: each of --targets held-out views asks for the --depth-views training views nearest to it. Median of |found -
  true| / true over all pixels of these whose depth is found and true, and over those of objects that are and are not
  metal; the share of true depths that is found at all.
- views: the --context training views nearest to a held-out view are lifted, the held-out photo is drawn: PSNR. Beside
  it fits (`ff fit`) to the same few photos in the processor time that the lift took, or --fit-times that: with the
  scene's points, which come from all photos, and without.
- features: --views views spread over the scene are lifted with the features of --features, measured on the scene's own
  held-out views as `ff eval` does, beside a fitted field (--field): PSNR, agreement of features with those extracted
  from the held-out photos, one click an object. Written twice: the same bytes?
- scaling: processor seconds and peak memory for 2, 4, 8 and 16 views, each in a process of its own.

Seconds are processor time unless they say otherwise; extraction of features is not counted.
"""

import argparse
import json
import sys
from pathlib import Path

PARTS = ("depth", "views", "features", "scaling")


def main(arguments: list[str]) -> int:
    from benchmarks.quality import DEMO

    parser = argparse.ArgumentParser(prog="python -m benchmarks lift", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=Path, default=DEMO, help="scene folder (default: the demo scene)")
    parser.add_argument("--geometry", nargs="*", default=["sweep", "lifter"], metavar="NAME",
                        help="sources of depth, as in `ff lift` (default: sweep lifter)")  # fmt: skip
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--targets", type=int, default=4, help="held-out views (default: 4, evenly spread)")
    parser.add_argument("--depth-views", type=int, default=5)
    parser.add_argument("--context", type=int, default=4)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--features", default="classical", help="extractor (default: classical)")
    parser.add_argument("--field", type=Path, help="a fitted field to compare with")
    parser.add_argument("--downscale", type=float, default=1.0)
    parser.add_argument("--no-fit", action="store_true", help="leave out the fits to the same few photos")
    parser.add_argument("--fit-times", type=float, nargs="+", default=[1.0, 10.0], metavar="F",
                        help="fits take so many times the processor time of the lift (default: 1 10)")  # fmt: skip
    parser.add_argument("--pictures", type=Path, help="folder for photo | drawn, side by side")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args(arguments)
    found: dict[str, object] = {"data": options.data.name}
    for part in options.parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        found[part] = _measured(part, options)
    if options.json:
        from featurefields.atomic import write_bytes

        write_bytes(options.json, json.dumps(found, indent=1).encode(), overwrite=True)
    return 0


def _measured(part: str, options: argparse.Namespace) -> object:
    """One part: measure, print a table, and return what was found."""
    from benchmarks.lift.depth import measure_depth
    from benchmarks.lift.features import measure_features
    from benchmarks.lift.novel import measure_views
    from benchmarks.lift.scaling import measure_scaling
    from featurefields.memory import keep_freed_memory

    keep_freed_memory()
    rows = {
        "depth": measure_depth,
        "views": measure_views,
        "features": measure_features,
        "scaling": measure_scaling,
    }[part](options)
    show(part, rows)
    return rows


def show(title: str, rows: list[dict[str, object]]) -> None:
    """Rows as a table, with the columns of all of them."""
    from rich.console import Console
    from rich.table import Table

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=200).print(table)


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
