"""Everything in one run: candidates, workloads, ratios, the report."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.raster import measurements as m
from benchmarks.raster.limits import Limits, measure_limits
from benchmarks.raster.probe import Probe, Timing
from benchmarks.raster.torch_peers import BatchedTorch, GsplatTorch
from benchmarks.raster.workloads import CONFIG, Work, large_work, small_work
from featurefields.raster.cpu import CpuRasterizer
from featurefields.raster.reference import ReferenceRasterizer
from featurefields.simd import GROUP

OURS = "cpu"
GOALS = {"gsplat _torch_impl": (50, 100), "torch, tiles batched": (20, 40), "reference": (20, 40)}
"""How many times faster than these the CPU rasterizer must be, and should be."""


def measure(folder: Path | None, *, quick: bool) -> dict[str, Any]:
    """Run everything; see `report` for what comes out."""
    say("limits of the machine …")
    limits, probe, samples = measure_limits(), Probe(5.0 if quick else 60.0), 7 if quick else 21
    small, large = small_work(folder), large_work(folder)
    peers, absent = candidates(quick=quick)
    rows, ratios = drawings(small, folder, peers, limits, probe, samples)
    rows += large_drawing(large, folder, peers, probe, samples) + lifting(small, peers, probe, samples)
    say("W6: frozen geometry …")
    times, found, megabytes = m.frozen(small, probe, samples=samples)
    rows += [row("W6", 64, f"{OURS}, {name}", timing, ms=timing.median) for name, timing in times.items()]
    say("threads, training, first picture …")
    speed, share = m.training(small, probe, samples=samples)
    ratios += [*found, *m.threads(small, probe, samples=samples), share, *m.first_picture()]
    ratios += m.narrow_registers(str(folder or ""))
    return {
        "machine": {
            "threads": limits.threads,
            "GFLOP/s": limits.gflops,
            "copy GB/s": limits.gbytes_per_s,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
        },
        "registers": "512 bits" if GROUP == 8 else "256 bits or fewer",
        "scenes": {
            work.name: {"contributions": work.contributions, "visible": work.visible}
            for work in (small, large)
        },
        "frozen MB": megabytes,
        "training steps/s": speed,
        "absent": absent,
        "rows": rows,
        "ratios": [{**asdict(ratio), "met": ratio.met} for ratio in ratios],
    }


def candidates(*, quick: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Everything that can draw here by name, and why the others cannot."""
    found: dict[str, Any] = {OURS: CpuRasterizer()}
    absent: dict[str, str] = {}
    if quick:
        return found, absent
    found |= {"reference": ReferenceRasterizer(), "torch, tiles batched": BatchedTorch()}
    peers = {
        "gsplat _torch_impl": lambda: GsplatTorch(search=True),
        "gsplat _torch_impl, pairs given": lambda: GsplatTorch(search=False),
        "gsplat": _gsplat,
    }
    for name, make in peers.items():
        try:
            found[name] = make()
        except Exception as error:  # a peer that cannot run is named in the report, whatever its reason
            absent[name] = str(error)
    return found, absent


def _gsplat() -> Any:
    from featurefields.raster.gsplat import GsplatRasterizer

    return GsplatRasterizer()


def drawings(
    work: Work, folder: Path | None, peers: dict[str, Any], limits: Limits, probe: Probe, samples: int
) -> tuple[list[dict[str, Any]], list[m.Ratio]]:
    """W1 to W3."""
    rows, ratios = [], []
    cost: dict[int, float] = {}
    once: dict[int, float] = {}
    for number, channels in enumerate((3, 16, 64), start=1):
        say(f"W{number}: {work.name}, {channels} channels …")
        forward, both = m.drawing(work, peers, channels, probe, samples=samples, budget_s=40)
        cost[channels], once[channels] = both[OURS].median, forward[OURS].median
        ceiling, ceiling_back = m.ceilings(work, channels, limits)
        for name in peers:
            first, second = forward[name].median, both[name].median - forward[name].median
            facts: dict[str, float | str] = {"forward ms": first, "backward ms": second}
            if name == OURS:
                facts |= {
                    "M contributions/s": work.contributions / first / 1e3,
                    "% of multiply-adds": 100 * ceiling.arithmetic_ms / first,
                    "% of bandwidth": 100 * ceiling.bytes_ms / first,
                    "floors ms": f"{ceiling.floor_ms:.2f} / {ceiling_back.floor_ms:.2f}",
                    "peak MB": m.peak_megabytes("small", str(folder or ""), channels, "step"),
                }
                if channels == 64:
                    ratios.append(m.over_floor("forward over its floor, W3", first / ceiling.floor_ms, 10, 6))
                    ratios.append(
                        m.over_floor("backward over its floor, W3", second / ceiling_back.floor_ms, 12, 7)
                    )
            elif name in GOALS:
                text = f"{name} over cpu, forward and backward, {channels} channels"
                ratios.append(m.higher(text, both[name].median / cost[channels], *GOALS[name]))
            rows.append(row(f"W{number}", channels, name, both[name], **facts))
    ratios.append(m.lower("64 channels over 3, forward and backward", cost[64] / cost[3], 2.5, 2))
    ratios.append(
        m.higher("64 / 3 drawings of 3 channels over one of 64", 64 / 3 * once[3] / once[64], 8, 12)
    )
    return rows, ratios


def large_drawing(
    work: Work, folder: Path | None, peers: dict[str, Any], probe: Probe, samples: int
) -> list[dict[str, Any]]:
    """W4."""
    say(f"W4: {work.name}, 64 channels …")
    calls = {
        name: m.forward(peers[name], work, 64) for name in (OURS, "reference", "gsplat") if name in peers
    }
    times = m.in_turns(calls, probe, samples=samples, budget_s=30)
    rows = [row("W4", 64, name, timing, **{"forward ms": timing.median}) for name, timing in times.items()]
    rows[0]["M contributions/s"] = work.contributions / times[OURS].median / 1e3
    rows[0]["peak MB"] = m.peak_megabytes("large", str(folder or ""), 64, "forward")
    return rows


def lifting(work: Work, peers: dict[str, Any], probe: Probe, samples: int) -> list[dict[str, Any]]:
    """W5: 64 channels and the weights themselves."""
    say("W5: lifting …")
    maps = work.maps(65)

    def lift(name: str) -> None:
        peers[name].gather(work.splats, maps, work.camera, CONFIG)

    calls = {name: lambda name=name: lift(name) for name in (OURS, "reference") if name in peers}
    times = m.in_turns(calls, probe, samples=samples, budget_s=30)
    return [row("W5", 65, name, timing, ms=timing.median) for name, timing in times.items()]


def row(workload: str, channels: int, candidate: str, timing: Timing, **facts: float | str) -> dict[str, Any]:
    """One line of the report."""
    counts = {"quiet": timing.quiet, "taken": timing.taken}
    return {"workload": workload, "channels": channels, "candidate": candidate, **facts, **counts}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
