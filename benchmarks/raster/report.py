"""Tables of a report, and the gate.

A report is plain data: machine, registers, scenes, rows (one a workload and candidate), ratios, absent candidates.
"""

import json
import sys
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).parent / "baseline.json"

COLUMNS = (
    "workload", "channels", "candidate", "forward ms", "backward ms", "ms", "M contributions/s", "% of multiply-adds",
    "% of bandwidth", "floors ms", "peak MB", "quiet", "taken",
)  # fmt: skip


def show(report: dict[str, Any]) -> None:
    """Tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150)
    machine = report["machine"]
    console.print(
        f"{machine['threads']} threads · {machine['GFLOP/s']:.0f} GFLOP/s · copy {machine['copy GB/s']:.1f} GB/s · "
        f"registers of {report['registers']} · torch {machine['torch']}"
    )
    for name, scene in report["scenes"].items():
        console.print(
            f"{name}: {scene['visible']} visible, {scene['contributions'] / 1e6:.2f} M contributions"
        )
    table = Table(title="medians of quiet samples")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("workload", "candidate") else "right")
    for row in report["rows"]:
        cells = (row.get(column, "") for column in COLUMNS)
        table.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells))
    console.print(table)
    table = Table(title="ratios")
    for column in ("ratio", "value", "must", "stretch", ""):
        table.add_column(column, justify="left" if column in ("ratio", "") else "right")
    for ratio in report["ratios"]:
        sign = "≥" if ratio["better"] == "higher" else "≤"
        table.add_row(ratio["name"], f"{ratio['value']:.2f}", f"{sign} {ratio['must']:g}", f"{ratio['stretch']:g}",
                      "" if ratio["met"] else "missed")  # fmt: skip
    console.print(table)
    console.print(
        f"frozen W: {report['frozen MB']:.1f} MB · training: {report['training steps/s']:.1f} steps/s"
    )
    for name, reason in report["absent"].items():
        console.print(f"{name}: not here ({reason})", markup=False)


def gate(report: dict[str, Any], baseline: Path = BASELINE) -> int:
    """1 when a ratio is worse than the baseline's by more than its slack."""
    known = json.loads(baseline.read_text("utf-8")) if baseline.exists() else {}
    wanted = known.get(report["registers"])
    if wanted is None:
        print(f"gate: the baseline has no ratios for registers of {report['registers']}; nothing compared")
        return 0
    worse = []
    for ratio in report["ratios"]:
        if ratio["name"] in wanted:
            before, slack = wanted[ratio["name"]]["value"], ratio["slack"]
            low = ratio["better"] == "higher" and ratio["value"] < before * (1 - slack)
            high = ratio["better"] == "lower" and ratio["value"] > before * (1 + slack)
            if low or high:
                worse.append(f"{ratio['name']}: {ratio['value']:.2f}, baseline {before:.2f}")
    print("gate:", "; ".join(worse) if worse else f"{len(wanted)} ratios as good as the baseline's")
    return 1 if worse else 0


def save_baseline(report: dict[str, Any], baseline: Path = BASELINE) -> None:
    """Make this run's ratios the baseline for machines with registers like this one's."""
    from featurefields.atomic import write_bytes

    known = json.loads(baseline.read_text("utf-8")) if baseline.exists() else {}
    known[report["registers"]] = {
        ratio["name"]: {"value": round(ratio["value"], 3), "better": ratio["better"]}
        for ratio in report["ratios"]
    }
    write_bytes(baseline, (json.dumps(known, indent=1) + "\n").encode(), overwrite=True)
