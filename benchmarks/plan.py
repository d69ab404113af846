"""What `ff plan` foretells against what `ff fit` then takes, on one scene after the other.

Each is a process of its own, one after the other, on a machine that should have nothing else to do: minutes are of the
wall's clock. Where it has, `--processor-time` takes the time of the process instead, in both. Memory is the peak of the
process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

WITHIN = 1.5
"""A forecast is right when it is off by no more than this factor."""
COMMAND = (
    "import resource, sys; from featurefields_cli import main; code = main(); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr); sys.exit(code)"
)
PROCESSOR_TIME = (
    "import time, types; from featurefields_cli import fit, forecast; "
    "fit.time = forecast.time = types.SimpleNamespace(monotonic=time.process_time, perf_counter=time.process_time); "
)
"""In front of the command: both look at another clock."""


def main(arguments: list[str]) -> int:
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(prog="python -m benchmarks plan", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="scenes")
    parser.add_argument("--steps", default="600")
    parser.add_argument("--splats", default="20000")
    parser.add_argument("--features", default="classical")
    parser.add_argument("--processor-time", action="store_true", help="not the wall's clock (a busy machine)")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args(arguments)
    table, told, right = Table("scene", "", "foretold", "taken", "foretold / taken"), [], True
    for scene in options.data:
        for name, (foretold, taken) in compared(scene, options).items():
            ratio = foretold / taken
            right &= 1 / WITHIN <= ratio <= WITHIN
            told.append({"scene": scene.name, "what": name, "foretold": foretold, "taken": taken})
            table.add_row(scene.name, name, f"{foretold:.4g}", f"{taken:.4g}", f"{ratio:.2f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    if options.json:
        from featurefields.atomic import write_bytes

        write_bytes(options.json, json.dumps(told, indent=1).encode(), overwrite=True)
    return 0 if right else 1


def compared(scene: Path, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """What was foretold and what was taken, by name."""
    words = [
        "--data",
        str(scene),
        "--steps",
        options.steps,
        "--splats",
        options.splats,
        "--features",
        options.features,
    ]
    code = (PROCESSOR_TIME if options.processor_time else "") + COMMAND
    plan, _ = _run(code, "plan", *words)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        fit, peak = _run(code, "fit", *words, "-o", f"{folder}/fit", "--cache", str(cache))
        cached = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()) / 1e6
    return {
        "fit, minutes": (plan["fit_minutes"], fit["fit_s"] / 60),
        "features, minutes": (plan["features_minutes"], fit["features_s"] / 60),
        "memory, GB": (plan["memory_GB"], peak / 1e9),
        "field, MB": (plan["field_on_disk_MB"], fit["MB"]),
        "feature cache, MB": (plan["feature_cache_MB"], cached),
    }


def _run(code: str, *words: str) -> tuple[dict, float]:
    """The JSON that a command printed, and the last line of its stderr as a number where it is one.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--json"], capture_output=True, text=True, check=False
    )
    lines = done.stderr.strip().splitlines() or [""]
    if done.returncode:
        raise RuntimeError(f"ff {words[0]} failed: {' '.join(lines[-2:])}")
    return json.loads(done.stdout), float(lines[-1]) if lines[-1].isdigit() else 0.0
