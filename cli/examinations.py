"""What `ff doctor` looks at: one function for each group of findings. None of them changes anything."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Literal

GROUPS = ("machine", "packages", "drawing", "extras", "weights", "disk")
LEAST_PYTHON = (3, 10)
LOW_DISK_GB, LOW_MEMORY_GB = 5.0, 4.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: one of `GROUPS`.
        name: what it is.
        state: "ok"; "absent" for what is optional and not there; "broken" for what nothing works without.
        found: what was seen, with versions and sizes.
        remedy: what to do, for what is not "ok"; or what to know.
    """

    group: str
    name: str
    state: Literal["ok", "absent", "broken"]
    found: str
    remedy: str = ""


def machine() -> list[Finding]:
    """Python, the processors, memory and CUDA devices."""
    import torch

    from .forecast import usable_cores

    python = platform.python_version()
    old = sys.version_info[:2] < LEAST_PYTHON
    processors = f"{platform.machine()}, {usable_cores()} usable, torch takes {torch.get_num_threads()}"
    findings = [
        Finding("machine", "Python", "broken" if old else "ok", python, "needs 3.10 or newer" if old else ""),
        Finding("machine", "processors", "ok", processors),
    ]
    memory = _memory_gb()
    if memory is not None:
        low = memory < LOW_MEMORY_GB
        advice = "fit small photos (--downscale) and use --budget" if low else ""
        findings.append(Finding("machine", "memory", "ok", f"{memory:.1f} GB", advice))
    return [*findings, _cuda()]


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return None


def _cuda() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding(
            "machine", "CUDA", "ok", f"{', '.join(names)}; torch was built for {torch.version.cuda}"
        )
    if torch.version.cuda is None:
        return Finding(
            "machine",
            "CUDA",
            "absent",
            "this torch is for CPUs only",
            "fine; for a GPU install a CUDA build of torch",
        )
    return Finding(
        "machine",
        "CUDA",
        "absent",
        "torch finds no device",
        "fine; for a GPU check its driver with nvidia-smi",
    )


def packages() -> list[Finding]:
    """What featurefields asks for, by its own metadata."""
    from packaging.requirements import Requirement

    findings = []
    for line in requires("featurefields") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        findings.append(_package(requirement.name, requirement))
    return findings


def _package(name: str, requirement: object) -> Finding:
    wanted = str(getattr(requirement, "specifier", ""))
    install = f"pip install '{name}{wanted}'"
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding("packages", name, "broken", "not installed", install)
    if not requirement.specifier.contains(found, prereleases=True):  # type: ignore[attr-defined]
        return Finding("packages", name, "broken", f"{found}, needs {wanted}", install)
    return Finding("packages", name, "ok", found)


def drawing() -> list[Finding]:
    """Every backend, by drawing one Gaussian where it can."""
    from featurefields.raster.select import BACKENDS

    return [_backend(name) for name in BACKENDS.names()]


def _backend(name: str) -> Finding:
    import torch

    from featurefields.errors import FeatureFieldsError
    from featurefields.raster import choose_rasterizer

    failing = "broken" if name == "cpu" else "absent"
    remedy = "reinstall numba and torch" if name == "cpu" else "the backend cpu draws as well"
    try:
        rasterizer = choose_rasterizer(name)
    except FeatureFieldsError as error:
        return Finding("drawing", name, failing, str(error), remedy)
    if name == "gsplat" and not torch.cuda.is_available():
        return Finding("drawing", name, "absent", "installed, but there is no CUDA device", remedy)
    try:
        coverage = _drawn_coverage(rasterizer, "cuda" if name == "gsplat" else "cpu")
    except Exception as error:  # whatever goes wrong in foreign kernels is the finding
        told = " ".join(str(error).split())[:200]
        return Finding("drawing", name, failing, f"cannot draw: {told}", remedy)
    if not 0.9 < coverage <= 1:
        return Finding(
            "drawing", name, failing, f"draws wrongly (coverage {coverage:.3f})", "please report it"
        )
    return Finding("drawing", name, "ok", "draws")


def _drawn_coverage(rasterizer: object, device: str) -> float:
    """Coverage in the middle of one large opaque Gaussian."""
    import torch

    from featurefields.camera import Camera
    from featurefields.raster import RasterConfig
    from featurefields.splats import Splats

    splats = Splats(
        means=torch.tensor([[0.0, 0.0, 2.0]]), quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.zeros(1, 3), opacity_logits=torch.full((1,), 6.0), columns={},
    ).to(device)  # fmt: skip
    camera = Camera(torch.eye(4), torch.tensor([16.0, 16.0]), torch.tensor([8.0, 8.0]), (16, 16)).to(device)
    drawn = rasterizer.draw(splats, torch.ones(1, 1, device=device), camera, RasterConfig())  # type: ignore[attr-defined]
    return float(drawn.alpha[8, 8])


EXTRAS = {
    "open3d": ("mesh", "meshes: ff export --as mesh", "on Debian it also needs libusb-1.0-0"),
    "nerfstudio": (
        "nerfstudio",
        "ns-train disentangled-features",
        "it pins much: an environment of its own is a good idea",
    ),
    "ray": ("batch", "many machines: ff batch --engine ray", "ff batch runs locally without"),
}
"""Package → the extra that brings it, what it is for, what to know."""
PROGRAMS = {
    "splat-transform": ("compressed splat files in ff export", "npm install -g @playcanvas/splat-transform"),
}


def extras() -> list[Finding]:
    """Optional packages, by importing them, and programs."""
    findings = []
    for name, (extra, purpose, known) in EXTRAS.items():
        install = f"pip install 'featurefields[{extra}]'; {known}"
        try:
            found = version(name)
            import_module(name)
        except PackageNotFoundError:
            findings.append(Finding("extras", name, "absent", f"not installed ({purpose})", install))
        except Exception as error:  # an optional package may fail in any way
            told = " ".join(str(error).split())[:200]
            findings.append(Finding("extras", name, "absent", f"cannot be imported: {told}", install))
        else:
            findings.append(Finding("extras", name, "ok", f"{found} ({purpose})"))
    for name, (purpose, install) in PROGRAMS.items():
        place = shutil.which(name)
        found = f"{place} ({purpose})" if place else f"not on the PATH ({purpose})"
        findings.append(Finding("extras", name, "ok" if place else "absent", found, "" if place else install))
    return findings


WEIGHTS = {
    "facebook/dinov2-with-registers-small": ("--features dinov2", "Apache-2.0"),
    "facebook/dinov2-with-registers-base": ("--features dinov2-base", "Apache-2.0"),
}
"""Hub id → the option that uses it, and its licence."""


def weights() -> list[Finding]:
    """Vision models whose weights are on this machine; the hub is not asked."""
    from huggingface_hub import try_to_load_from_cache

    findings = [Finding("weights", "classical", "ok", "needs none; works offline")]
    for name, (option, licence) in WEIGHTS.items():
        found = any(
            isinstance(try_to_load_from_cache(name, file), str) for file in ("model.safetensors", "pytorch_model.bin")
        )  # fmt: skip
        told = f"{'here' if found else 'not on this machine'} ({option}, licence {licence})"
        remedy = "" if found else "downloaded when first used; offline: transformers:FOLDER or onnx:FILE"
        findings.append(Finding("weights", name, "ok" if found else "absent", told, remedy))
    return findings


def disk() -> list[Finding]:
    """The folder of extracted features, and what is left beside it."""
    from featurefields.vision.cache import MAX_BYTES, default_cache_dir

    folder = default_cache_dir()
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    if not os.access(place, os.W_OK):
        remedy = "choose another with FF_CACHE or --cache"
        return [Finding("disk", "feature cache", "absent", f"{folder} cannot be written", remedy)]
    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    told = f"{folder}: {held / 1e9:.2f} of at most {MAX_BYTES / 1e9:.0f} GB, {free:.0f} GB free"
    remedy = "little is left; choose another disk with FF_CACHE" if free < LOW_DISK_GB else ""
    return [Finding("disk", "feature cache", "ok", told, remedy)]


EXAMINATIONS: tuple[Callable[[], list[Finding]], ...] = (machine, packages, drawing, extras, weights, disk)
