"""What is measured: every function returns facts and the ratios that count.

A ratio compares two timings of one run on the same inputs, so that it means the same on another machine.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from benchmarks.raster.limits import Limits
from benchmarks.raster.probe import Probe, Timing, in_turns
from benchmarks.raster.workloads import CONFIG, Work
from featurefields.fitting.optimiser import TableAdam
from featurefields.raster import Rasterizer
from featurefields.raster.cpu import CpuRasterizer
from featurefields.splats import Splats


@dataclass(frozen=True)
class Ratio:
    """A number that must not get worse: at least `must` ("higher" is better) or at most ("lower"). The gate lets it be
    `slack` (a share of the baseline's) worse."""

    name: str
    value: float
    better: str
    must: float
    stretch: float
    slack: float = 0.25

    @property
    def met(self) -> bool:
        return self.value >= self.must if self.better == "higher" else self.value <= self.must


def higher(name: str, value: float, must: float, stretch: float) -> Ratio:
    return Ratio(name, value, "higher", must, stretch)


def lower(name: str, value: float, must: float, stretch: float) -> Ratio:
    return Ratio(name, value, "lower", must, stretch)


def over_floor(name: str, value: float, must: float, stretch: float) -> Ratio:
    """A time over the machine's own limit. The limit is measured apart from the time, so twice the slack is left."""
    return Ratio(name, value, "lower", must, stretch, slack=0.5)


def forward(rasterizer: Rasterizer, work: Work, channels: int) -> Callable[[], object]:
    """A drawing without derivatives."""
    values, device = work.channels(channels), _device(rasterizer)
    splats, values, camera = work.splats.to(device), values.to(device), work.camera.to(device)

    def call() -> None:
        with torch.no_grad():
            rasterizer.draw(splats, values, camera, CONFIG)
        _wait(device)

    return call


def step(rasterizer: Rasterizer, work: Work, channels: int) -> Callable[[], object]:
    """A drawing and its derivative by everything."""
    device = _device(rasterizer)
    leaves = {key: value.to(device).clone().requires_grad_() for key, value in work.splats.tensors().items()}
    values = work.channels(channels).to(device).requires_grad_()
    by_image, by_alpha = work.maps(channels).to(device), work.maps(1)[..., 0].to(device)
    camera = work.camera.to(device)

    def call() -> None:
        drawn = rasterizer.draw(Splats.from_tensors(leaves), values, camera, CONFIG)
        torch.autograd.grad([drawn.image, drawn.alpha], [*leaves.values(), values], [by_image, by_alpha])
        _wait(device)

    return call


def _device(rasterizer: Rasterizer) -> torch.device:
    return torch.device("cuda" if rasterizer.name == "gsplat" else "cpu")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def drawing(
    work: Work,
    candidates: Mapping[str, Rasterizer],
    channels: int,
    probe: Probe,
    *,
    samples: int,
    budget_s: float,
) -> tuple[dict[str, Timing], dict[str, Timing]]:
    """Forward, and forward with backward, of every candidate."""
    once = in_turns(
        {name: forward(one, work, channels) for name, one in candidates.items()},
        probe, samples=samples, budget_s=budget_s,
    )  # fmt: skip
    both = in_turns(
        {name: step(one, work, channels) for name, one in candidates.items()},
        probe, samples=samples, budget_s=budget_s,
    )  # fmt: skip
    return once, both


@dataclass(frozen=True)
class Ceiling:
    """The least milliseconds that a workload takes: by its arithmetic, and by its bytes."""

    arithmetic_ms: float
    bytes_ms: float

    @property
    def floor_ms(self) -> float:
        return max(self.arithmetic_ms, self.bytes_ms)


def ceilings(work: Work, channels: int, limits: Limits) -> tuple[Ceiling, Ceiling]:
    """Of drawing and of its derivative.

    Lane operations a contribution: 19 + c forward, 32 + 2 c backward (a multiply-add is one). Bytes: parameters and
    visible channels once, pictures once, for the derivative gradients too.
    """
    pixels = work.camera.width * work.camera.height
    megabytes = (work.visible * (44 + 4 * channels) + pixels * 4 * (channels + 1)) / 1e6
    per_ms = limits.gflops / 2 * 1e6
    forward = Ceiling(work.contributions * (19 + channels) / per_ms, megabytes / limits.gbytes_per_s)
    backward = Ceiling(work.contributions * (32 + 2 * channels) / per_ms, 2 * megabytes / limits.gbytes_per_s)
    return forward, backward


def frozen(work: Work, probe: Probe, *, samples: int) -> tuple[dict[str, Timing], list[Ratio], float]:
    """Applying W and its transpose (64 channels) against drawing and gathering again; megabytes that W takes."""
    cpu, channels, maps = CpuRasterizer(), work.channels(64), work.maps(64)
    view = cpu.freeze(work.splats, work.camera, CONFIG)
    times = in_turns(
        {
            "draw": forward(cpu, work, 64),
            "gather": lambda: cpu.gather(work.splats, maps, work.camera, CONFIG),
            "freeze": lambda: cpu.freeze(work.splats, work.camera, CONFIG),
            "frozen draw": lambda: view.draw(channels),
            "frozen gather": lambda: view.gather(maps),
            "contributors": lambda: view.contributors(1),
            "visibility": lambda: view.visibility(),
        },
        probe, samples=samples, budget_s=60,
    )  # fmt: skip
    ratios = [
        higher("drawing again over frozen W, 64 channels", _over(times, "draw", "frozen draw"), 2.5, 4),
        higher(
            "gathering again over frozen W', 64 channels", _over(times, "gather", "frozen gather"), 2.5, 4
        ),
    ]
    return times, ratios, view.nbytes / 1e6


def _over(times: Mapping[str, Timing], left: str, right: str) -> float:
    return times[left].median / times[right].median


def threads(work: Work, probe: Probe, *, samples: int) -> list[Ratio]:
    """All threads against one, for a step."""
    most = torch.get_num_threads()
    if most < 2:
        return []
    ratios = []
    for channels in (3, 64):
        call = step(CpuRasterizer(), work, channels)

        def with_threads(count: int, call: Callable[[], object] = call) -> None:
            torch.set_num_threads(count)
            call()

        times = in_turns(
            {"one": lambda run=with_threads: run(1), "all": lambda run=with_threads: run(most)},
            probe, samples=samples, budget_s=30,
        )  # fmt: skip
        torch.set_num_threads(most)
        name = f"one thread over {most}, forward and backward, {channels} channels"
        ratios.append(higher(name, _over(times, "one", "all"), 0.85 * most, 0.95 * most))
    return ratios


def training(work: Work, probe: Probe, *, samples: int) -> tuple[float, Ratio]:
    """Steps per second with 3 colours and 64 features a Gaussian, and the rasterizer's share of a step."""
    columns = {"rgb": work.channels(3), "feature": work.channels(64)}
    adam = TableAdam(
        {**work.splats.tensors(), **columns}, dict.fromkeys([*work.splats.tensors(), *columns], 1e-5)
    )
    target = work.maps(67)
    pictures = step(CpuRasterizer(), work, 67)

    def whole() -> None:
        given = adam.parameters
        splats = Splats.from_tensors({key: given[key] for key in work.splats.tensors()})
        channels = torch.cat([given["rgb"], given["feature"]], 1)
        drawn = CpuRasterizer().draw(splats, channels, work.camera, CONFIG)
        loss = (drawn.image - target).abs().mean() + 0.1 * (1 - drawn.alpha).square().mean()
        loss.backward()
        adam.step()

    times = in_turns({"whole": whole, "pictures": pictures}, probe, samples=samples, budget_s=30)
    share = _over(times, "pictures", "whole")
    return 1e3 / times["whole"].median, higher(
        "rasterizer's share of a training step, 3 + 64 channels", share, 0.75, 0.9
    )


FIRST_PICTURE = """
import time, torch
import numpy
started = time.perf_counter()
from featurefields.camera import Camera
from featurefields.raster import RasterConfig, choose_rasterizer
from featurefields.splats import Splats
n = 2000
camera = Camera(torch.eye(4), torch.tensor([64.0, 64.0]), torch.tensor([32.0, 32.0]), (64, 64))
means = torch.rand(n, 3) - torch.tensor([0.5, 0.5, -2.0])
splats = Splats(means, torch.ones(n, 4), torch.full((n, 3), -3.0), torch.zeros(n))
choose_rasterizer("cpu").draw(splats, torch.rand(n, 3), camera, RasterConfig())
print(time.perf_counter() - started)
"""


def first_picture() -> list[Ratio]:
    """Seconds from `import torch` to the first picture, with nothing compiled yet and with everything on disk."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        cold, *warm = (float(_python(FIRST_PICTURE, environment)) for _ in range(4))
    return [
        lower("seconds to the first picture, nothing compiled", cold, 8, 4),
        lower("seconds to the first picture, compiled before", sorted(warm)[1], 0.5, 0.3),
    ]


def _python(code: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(environment), capture_output=True, text=True, check=True
    )
    return done.stdout.strip().splitlines()[-1]


NARROW_STEP = """
import json, sys
from pathlib import Path
from featurefields.memory import keep_freed_memory
keep_freed_memory()
from benchmarks.raster.measurements import CpuRasterizer, Probe, in_turns, step
from benchmarks.raster.workloads import small_work
work = small_work(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
calls = {str(c): step(CpuRasterizer(), work, c) for c in (3, 64)}
times = in_turns(calls, Probe(), samples=15, budget_s=60)
print(json.dumps({key: value.median for key, value in times.items()}))
"""


def narrow_registers(folder: str) -> list[Ratio]:
    """Compiled for 256-bit registers against the machine's own 512-bit ones; nothing where it has none."""
    from featurefields.simd.groups import GROUP

    if GROUP == 4:
        return []
    found = []
    for cpu in ({}, {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2,+popcnt"}):
        done = subprocess.run(
            [sys.executable, "-c", NARROW_STEP, folder], env={**os.environ, **cpu}, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    wide, narrow = found
    return [lower(f"AVX2 over AVX-512, {c} channels", narrow[c] / wide[c], 2.2, 1.6) for c in ("3", "64")]


PEAK = """
import sys
from pathlib import Path
from benchmarks.raster.measurements import CpuRasterizer, forward, status, step
from benchmarks.raster.workloads import large_work, made_up, small_work
kind, source, size, channels, call = sys.argv[1:]
folder = Path(source) if source else None
work = {"small": lambda: small_work(folder), "large": lambda: large_work(folder),
        "made up": lambda: made_up(int(source), int(size))}[kind]()
calls = {"forward": forward, "step": step}
calls[call](CpuRasterizer(), made_up(50, 32), int(channels))()  # compiled code and thread pools are not the picture's
ready = calls[call](CpuRasterizer(), work, int(channels))
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # resets the high-water mark
before = status("VmRSS")
ready()
print((status("VmHWM") - before) / 1024)
"""


def peak_megabytes(kind: str, source: str, channels: int, call: str, size: int = 0) -> float:
    """Memory that a call ("forward" or "step") needs beyond its inputs, in a process of its own; NaN where unknown.

    kind: "small" or "large" (source: the folder or ""), "made up" (source: how many Gaussians, and the picture's size).
    """
    command = [sys.executable, "-c", PEAK, kind, source, str(size), str(channels), call]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else float("nan")


def status(key: str) -> float:
    """Kilobytes of this process by a key of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(float(line.split()[1]) for line in file if line.startswith(key))
