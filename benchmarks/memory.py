"""Peak memory of stage 2 against `ff fit --budget`, for every solver and every source of the view-independent part.

Every case is a process of its own. It loads the field, its photos and the extractor and uses each once, so that what
comes on top of the budget (the program, the field, the extractor) is there; then it lifts all features as `ff fit`
does, and the growth of its peak memory (what getrusage tells, set back before; Linux) is what lifting took. Feature
maps are in the cache on disk; with `--no-cache` there is no disk that could keep them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

SOLVERS = ("uplift", "least-squares", "sgd")
BUDGETS = ("200MB", "1GB", "4GB")


@dataclass(frozen=True)
class Case:
    """What is lifted how. sgd knows photos only."""

    solver: str
    indep_from: str
    budget: str


@dataclass(frozen=True)
class Peak:
    """What it took.

    Attributes:
        before_mb: memory of the program with field, photos and extractor.
        peak_mb: growth beyond that.
        budget_mb: what was allowed.
        seconds: how long it took, by the processors.
        notes: what the user is told.
    """

    case: Case
    before_mb: float
    peak_mb: float
    budget_mb: float
    seconds: float
    notes: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether the budget was respected."""
        return self.peak_mb <= self.budget_mb


def main(arguments: list[str]) -> int:
    from benchmarks.quality import DEMO

    parser = argparse.ArgumentParser(prog="python -m benchmarks memory", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--field", type=Path, required=True, help="fitted field, whose geometry is taken")
    parser.add_argument("--data", type=Path, default=DEMO, help="its photos (default: the demo scene)")
    parser.add_argument("--features", default="classical", help="extractor (default: classical)")
    parser.add_argument("--budgets", nargs="+", default=list(BUDGETS))
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS), choices=SOLVERS)
    parser.add_argument("--indep-from", nargs="+", default=["matter", "photos"], choices=("matter", "photos"))
    parser.add_argument("--no-cache", action="store_true", help="no disk keeps the feature maps")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args(arguments)
    cases = [
        Case(solver, source, budget)
        for solver in options.solvers
        for source in options.indep_from
        if (solver, source) != ("sgd", "matter")
        for budget in options.budgets
    ]
    peaks = measure(options, cases)
    show(peaks)
    if options.json:
        from featurefields.atomic import write_bytes

        content = json.dumps([asdict(peak) | {"kept": peak.kept} for peak in peaks], indent=1)
        write_bytes(options.json, content.encode(), overwrite=True)
    return 0 if all(peak.kept for peak in peaks) else 1


def measure(options: argparse.Namespace, cases: list[Case]) -> list[Peak]:
    """Every case in a process of its own; what one extracted is there for the next."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        if options.no_cache:
            cache.write_bytes(b"a file where the cache's folder would be")
        else:
            sources = {case.indep_from for case in cases}
            for source in sorted(sources):  # extraction is not lifting
                print(f"features of {source} into the cache …", file=sys.stderr, flush=True)
                _python(options, Case("uplift", source, "4GB"), cache)
        for case in cases:
            print(f"{case.solver} from {case.indep_from}, {case.budget} …", file=sys.stderr, flush=True)
            peaks.append(_python(options, case, cache))
    return peaks


def _python(options: argparse.Namespace, case: Case, cache: Path) -> Peak:
    """`one` in a process of its own.

    Raises:
        RuntimeError: it failed; with the last line it said.
    """
    given = {"field": str(options.field), "data": str(options.data), "features": options.features}
    told = json.dumps(given | {"cache": str(cache)} | asdict(case))
    command = [sys.executable, "-c", "from benchmarks.memory import one; one()", told]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case} failed: {(done.stderr.strip().splitlines() or ['no reason told'])[-1]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Peak(case=case, notes=tuple(found.pop("notes")), **found)


def one() -> None:
    """Measure the case that the command line's last argument tells, as one line of JSON on stdout."""
    import time

    import torch

    from benchmarks.raster.measurements import status
    from featurefields.lifting.stage import LiftingConfig, lift_features
    from featurefields.memory import keep_freed_memory
    from featurefields.raster import choose_rasterizer
    from featurefields.vision.select import choose_extractor
    from featurefields_cli.console import Console
    from featurefields_cli.held_out import measured_on
    from featurefields_cli.inputs import load_field
    from featurefields_cli.options import parse_size

    keep_freed_memory()
    told = json.loads(sys.argv[-1])
    field, scene = measured_on(load_field(Path(told["field"])), Path(told["data"]), Console(json=True))
    extractor, rasterizer = choose_extractor(told["features"]), choose_rasterizer()
    views = scene.split("train")
    budget = parse_size(told["budget"], "--budget")
    shared = {"solver": told["solver"], "indep_from": told["indep_from"], "cache": Path(told["cache"])}
    few = field.with_splats(field.splats.select(torch.arange(0, len(field), max(1, len(field) // 500))))
    extractor(views[0].picture.image().movedim(-1, 0)[None])
    lift_features(few, views[:1], extractor, rasterizer, LiftingConfig(budget_bytes=budget, **shared))
    notes: list[str] = []
    give_back_freed_memory()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets the high-water mark
    before, started = status("VmRSS"), time.process_time()
    config = LiftingConfig(budget_bytes=budget, **shared)
    lift_features(field, views, extractor, rasterizer, config, note=notes.append)
    peak = status("VmHWM") - before
    print(json.dumps({
        "before_mb": before / 1e3 * 1.024, "peak_mb": peak / 1e3 * 1.024, "budget_mb": budget / 1e6,
        "seconds": time.process_time() - started, "notes": notes,
    }))  # fmt: skip


def give_back_freed_memory() -> None:
    """Pages that are free but still the process's would hide as much growth."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def show(peaks: list[Peak]) -> None:
    """A table on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
    table = Table("solver", "indep from", "budget")
    for column in ("peak MB", "of the budget", "processor s"):
        table.add_column(column, justify="right")
    table.add_column("")
    for peak in peaks:
        share = f"{100 * peak.peak_mb / peak.budget_mb:.0f} %"
        table.add_row(
            peak.case.solver, peak.case.indep_from, peak.case.budget, f"{peak.peak_mb:.0f}", share,
            f"{peak.seconds:.1f}", "" if peak.kept else "over",
        )  # fmt: skip
    console.print(table)
    for note in dict.fromkeys(note for peak in peaks for note in peak.notes):
        console.print(f"told: {note}", markup=False)
