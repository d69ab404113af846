"""`ff extract`: features of all photos into the cache, where the other commands find them."""

import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from featurefields.errors import FittingError

from .console import Console, Summary
from .features import find_extractor
from .inputs import check_downscale, existing
from .options import ComputeOptions, Decimal, OptionalPath, ReportOptions


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """Extract features of all photos that `ff fit` would fit, and keep them in the cache.

    `ff fit --indep-from photos` and `ff lift` then find them there; where matter is lifted from a field's own pictures
    (the default of `ff fit`), those can only be extracted once there is a field. Nothing else is written.
    """

    data: Path
    """Folder of the photos: nerfstudio transforms.json, COLMAP, blender or ScanNet++."""
    features: str = "auto"
    """Extractor, as for `ff fit`."""
    downscale: Decimal = None
    """Photos reduced by this factor; by default as `ff fit` does."""
    cache: OptionalPath = None
    """Folder that keeps extracted features; by default the user's cache folder."""
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: ExtractOptions, console: Console) -> Summary:
    """Read, extract, tell. Raises `FittingError` when there is nothing to extract or a number makes no sense."""
    from featurefields.readers import read_scene
    from featurefields.vision.cache import default_cache_dir, extract_features

    from .fit import suitable_downscale

    existing(options.data)
    check_downscale(options.downscale)
    device = options.compute.torch_device()
    extractor = find_extractor(options.features, device, console)
    if extractor is None:
        raise FittingError("--features none leaves nothing to extract; name an extractor")
    whole = read_scene(options.data, points=False)
    downscale = options.downscale or suitable_downscale(whole, device.type)
    scene = read_scene(options.data, downscale=downscale, points=False)
    views, started = scene.split("train"), time.monotonic()
    with console.progress("extracting features", len(views)) as advance:
        told = 0

        def on_progress(done: int, _: int) -> None:
            nonlocal told
            advance(done - told)
            told = done

        extract_features(views, extractor, cache_dir=options.cache, on_progress=on_progress)
    rows = {
        "views": len(views),
        "size": "x".join(map(str, views[0].camera.size)),
        "extractor": extractor.fingerprint,
        "dimensions": extractor.dim,
        "seconds": round(time.monotonic() - started, 1),
    }
    return Summary(f"extracted features of {scene.name}", rows, [options.cache or default_cache_dir()])
