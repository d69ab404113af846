"""`python -m benchmarks viewer --field F`: the viewer in headless chromium, with WebGL in software.

- release: seconds from releasing the mouse after a turn to the sharp picture being sent (0.12 s of it are waited for);
- click: seconds from a click to the picture with the selection being sent;
- hurry: 30 moves and 20 clicks as fast as they go: no stale picture at the end, no exception;
- soak: random use for as long as --soak says; growth of the viewer's memory.

Processor seconds are those of this process: the browser's own work is not in them. A fresh folder holds the work.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks viewer", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--field", type=Path, required=True, help="fitted field, as `ff view` takes it")
    parser.add_argument(
        "--soak", default="0m", metavar="60m", help="how long it is used at random (default: not)"
    )
    parser.add_argument("--tries", type=int, default=10, help="of each latency (default: 10)")
    parser.add_argument("--size", type=int, default=512, help="longer side of pictures (default: 512)")
    parser.add_argument("--splats", action="store_true", help="let the browser draw splats, in software")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    chosen = parser.parse_args(arguments)
    seconds = seconds_of(chosen.soak)
    with tempfile.TemporaryDirectory() as folder:
        report = run(chosen, Path(folder), seconds)
    print(json.dumps(report, indent=1) if chosen.json else told(report))
    return 0


def seconds_of(text: str) -> float:
    """Seconds of "90s", "10m" or "1h". Raises `ValueError` for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    if not text or text[-1] not in units:
        raise ValueError(f"how long is a number and s, m or h, such as 10m; got '{text}'")
    return float(text[:-1]) * units[text[-1]]


def run(chosen: argparse.Namespace, folder: Path, seconds: float) -> dict[str, object]:
    """Open, measure, soak."""
    import numpy as np

    from benchmarks.viewer.latency import click_to_overlay, hurry, release_to_picture
    from benchmarks.viewer.seat import Seat, chromium
    from benchmarks.viewer.soak import soak
    from featurefields.memory import keep_freed_memory
    from featurefields_cli.console import Console
    from featurefields_cli.view import ViewOptions, start

    keep_freed_memory()
    generator = np.random.default_rng(chosen.seed)
    options = ViewOptions(source=chosen.field, session=folder, port=0, splats=chosen.splats, size=chosen.size)
    began = time.perf_counter()
    viewer = start(options, Console(json=True))
    listening = time.perf_counter() - began
    viewer.wait_until_open()
    report: dict[str, object] = {
        "splats": len(viewer.document.base),
        "size": chosen.size,
        "listening_s": listening,
        "open_s": time.perf_counter() - began,
    }
    try:
        with chromium() as browser:
            seat = Seat(viewer, browser, size=(chosen.size + 388, chosen.size))
            report["first_picture_s"] = time.perf_counter() - began
            report["release"] = release_to_picture(seat, chosen.tries, generator).told()
            report["click"] = click_to_overlay(seat, chosen.tries, generator).told()
            report["hurry"] = asdict(hurry(seat, generator))
            if seconds:
                tell = (
                    (lambda line: None)
                    if chosen.json
                    else (lambda line: print(line, file=sys.stderr, flush=True))
                )
                found = soak(seat, seconds, generator, tell)
                report["soak"] = {
                    "seconds": seconds,
                    "acts": found.acts,
                    "exceptions": found.exceptions,
                    "stale": found.stale,
                    "first_mb": found.resident_mb[0],
                    "after_warm_up_mb": found.resident_mb[int(0.2 * len(found.resident_mb))],
                    "last_mb": found.resident_mb[-1],
                    "growth_mb_per_hour": found.growth_mb_per_hour,
                    "page_first_mb": found.heap_mb[0],
                    "page_last_mb": found.heap_mb[-1],
                }
    finally:
        viewer.stop()
    return report


def told(report: dict[str, object]) -> str:
    """The report as lines for people."""
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines.append(f"{name:>16}: " + ", ".join(f"{key} {_number(one)}" for key, one in value.items()))
        else:
            lines.append(f"{name:>16}: {_number(value)}")
    return "\n".join(lines)


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
