"""How the CPU rasterizer's time and memory grow with Gaussians, pixels, channels and threads; one plot each.

Scenes are made up, with about the same contributions per pixel whatever their size. Every point is the median of quiet
samples of a forward drawing and of a drawing with its derivative by everything.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FIGURES = Path(__file__).parent.parent / "docs" / "figures"


@dataclass(frozen=True)
class Point:
    """One size of one axis."""

    size: int
    forward_ms: float
    step_ms: float
    contributions: int
    peak_mb: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument(
        "--figures", type=Path, help=f"also draw the plots into this folder (the docs' are {FIGURES})"
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    options = parser.parse_args(arguments)
    from featurefields.memory import keep_freed_memory

    keep_freed_memory()
    axes = measure(quick=options.quick)
    show(axes)
    content = json.dumps(
        {name: [asdict(point) for point in points] for name, points in axes.items()}, indent=1
    )
    if options.json:
        from featurefields.atomic import write_bytes

        write_bytes(options.json, content.encode(), overwrite=True)
    if options.figures:
        plot(axes, options.figures)
    return 0


def measure(*, quick: bool) -> dict[str, list[Point]]:
    """The four axes."""
    import torch

    from benchmarks.raster.measurements import forward, in_turns, peak_megabytes, step
    from benchmarks.raster.probe import Probe
    from benchmarks.raster.workloads import Work, made_up
    from featurefields.raster.cpu import CpuRasterizer

    probe, cpu = Probe(), CpuRasterizer()

    def point(size: int, work: Work, channels: int) -> Point:
        n, side = str(len(work.splats)), work.camera.width
        once, both = forward(cpu, work, channels), step(cpu, work, channels)
        for _ in range(4):  # again when the machine was too busy to tell
            times = in_turns({"forward": once, "step": both}, probe, samples=9, budget_s=20)
            if min(timing.quiet for timing in times.values()) >= 5:
                break
        megabytes = peak_megabytes("made up", n, channels, "step", side)
        return Point(size, times["forward"].median, times["step"].median, work.contributions, megabytes)

    def axis(name: str, sizes: Sequence[int], make: Callable[[int], Point]) -> list[Point]:
        points = []
        for size in sizes:
            print(f"{name}: {size} …", file=sys.stderr, flush=True)
            points.append(make(size))
        return points

    numbers = [10_000, 30_000, 100_000] if quick else [10_000, 30_000, 100_000, 300_000, 1_000_000]
    sides = [64, 128, 256] if quick else [64, 128, 256, 512, 1024]
    widths = [1, 3, 16, 64] if quick else [1, 3, 4, 8, 16, 32, 64, 128, 256, 512]
    standard = made_up(50_000, 256)
    axes = {
        "pixels (50k Gaussians, 3 channels)": axis(
            "side", sides, lambda side: point(side * side, made_up(50_000, side), 3)
        ),
        "channels (50k Gaussians, 256 x 256 pixels)": axis(
            "channels", widths, lambda c: point(c, standard, c)
        ),
    }
    most = torch.get_num_threads()
    counts = sorted({1, *(2**k for k in range(1, 8) if 2**k < most), most})

    def with_threads(count: int) -> Point:
        torch.set_num_threads(count)
        try:
            return point(count, standard, 16)
        finally:
            torch.set_num_threads(most)

    axes["threads (50k Gaussians, 256 x 256 pixels, 16 channels)"] = axis("threads", counts, with_threads)
    # the largest come last: what they leave in the heap slows smaller ones down
    axes["Gaussians (512 x 512 pixels, 3 channels)"] = axis(
        "Gaussians", numbers, lambda n: point(n, made_up(n, 512), 3)
    )
    if not quick:
        print("1M Gaussians at 1024 x 1024 …", file=sys.stderr, flush=True)
        axes["largest (1M Gaussians, 1024 x 1024 pixels, 3 channels)"] = [
            point(1_000_000, made_up(1_000_000, 1024), 3)
        ]
    return axes


def show(axes: dict[str, list[Point]]) -> None:
    """Tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120)
    for name, points in axes.items():
        table = Table(title=name)
        for column in (
            "size",
            "forward ms",
            "with derivative ms",
            "M contributions",
            "peak MB beyond the inputs",
        ):
            table.add_column(column, justify="right")
        for point in points:
            table.add_row(f"{point.size:,}", f"{point.forward_ms:.2f}", f"{point.step_ms:.2f}",
                          f"{point.contributions / 1e6:.2f}", f"{point.peak_mb:.0f}")  # fmt: skip
        console.print(table)


def plot(axes: dict[str, list[Point]], folder: Path) -> None:
    """One SVG an axis; a dashed line shows proportional growth."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for name, points in axes.items():
        if len(points) < 2:
            continue
        figure, axis = pyplot.subplots(figsize=(4.6, 3.2), layout="constrained")
        sizes = [point.size for point in points]
        axis.loglog(
            sizes, [point.step_ms for point in points], "o-", color="#0072b2", label="with derivative"
        )
        axis.loglog(sizes, [point.forward_ms for point in points], "s-", color="#d55e00", label="forward")
        falls = name.startswith("threads")
        end = points[0] if falls else points[-1]
        guide = [end.step_ms * (end.size / size if falls else size / end.size) for size in sizes]
        axis.loglog(sizes, guide, "--", color="#999999", label="proportional")
        axis.set_xlabel(name)
        axis.set_ylabel("milliseconds")
        axis.legend(frameon=False)
        axis.grid(True, which="major", color="#e5e5e5")
        figure.savefig(folder / f"scaling-{name.split()[0].lower()}.svg", metadata={"Date": None})
        pyplot.close(figure)
        print(folder / f"scaling-{name.split()[0].lower()}.svg")
