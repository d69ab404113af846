"""What a frozen network knows: probes on held-out scenes, matching on captures, one click in a field."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurefields.camera import Camera
    from featurefields.evaluation.probes import ProbeReport
    from featurefields.field import FeatureField

NUMBERS = {
    "depth": ("rmse", "abs_rel"),
    "normals": ("rmse", "within_30"),
    "segmentation": ("miou",),
    "correspondence": ("recall 5px", "recall 10px", "recall 20px"),
}
"""The numbers of every task that are compared."""
REGIONS = ("agreement ", "contrast ")
"""And of correspondence all that begin so: how alike the features of one point are in two views, by region."""


def probed(
    network: Path, train: Sequence[Path], held_out: Sequence[Path], seeds: int, steps: int | None, every: int
) -> dict[str, float]:
    """Mean over the probes' seeds of every number, by "task number": heads from `train`, measured on `held_out`."""
    from featurefields.evaluation.probes import ProbeConfig, run_probes
    from featurefields.readers.probe_sets import ProbeSource, read_probe_set
    from featurefields.vision import choose_extractor

    source = ProbeSource(held_out=tuple(path.name for path in held_out), every=every)
    data = read_probe_set([*train, *held_out], layout="scenes", source=source)
    extractor = choose_extractor(f"transformers:{network}")
    config = ProbeConfig(seeds=tuple(range(seeds)), steps=steps)
    return _numbers(run_probes(extractor, data, config))


def matched(network: Path, capture: Path, longest_side: int) -> dict[str, float]:
    """Correspondence on one capture, which needs no training; names begin with the capture's."""
    from featurefields.evaluation.probes import ProbeConfig, run_probes
    from featurefields.readers.probe_sets import ProbeSource, read_probe_set
    from featurefields.vision import choose_extractor

    source = ProbeSource(held_out=(capture.name,), longest_side=longest_side)
    data = read_probe_set([capture], layout="scenes", source=source)
    config = ProbeConfig(seeds=(0,), tasks=("correspondence",))
    report = run_probes(choose_extractor(f"transformers:{network}"), data, config)
    return {f"{capture.name} {name}": value for name, value in _numbers(report).items()}


def clicked(network: Path, field: Path, data: Path) -> dict[str, float]:
    """Mean IoU of one click an object, as `ff eval --solvers uplift` measures it, in a field with these features."""
    from featurefields.evaluation.regions import scene_objects
    from featurefields.raster import choose_rasterizer
    from featurefields.vision import choose_extractor
    from featurefields_cli.clicks import ClickTrial, read_clicks
    from featurefields_cli.console import Console
    from featurefields_cli.held_out import measured_on
    from featurefields_cli.inputs import load_field
    from featurefields_cli.queries import clicked_in, featured_fields, seen_features, with_features

    console, rasterizer = Console(json=True), choose_rasterizer("cpu")
    geometry, scene = measured_on(load_field(field), data, console)
    extractor = choose_extractor(f"transformers:{network}")
    featured, _ = featured_fields(
        geometry, scene, extractor, rasterizer, console, solvers=("uplift",), cache=None
    )
    trial = ClickTrial.of(geometry, scene, read_clicks(scene), scene_objects(scene), rasterizer=rasterizer)
    found = {}
    for name, (entry, layer) in clicked_in(featured).items():

        def at(camera: "Camera", entry: "FeatureField" = entry, layer: str = layer) -> "FeatureField":
            return with_features(entry, seen_features(entry, camera, layer))

        rows = trial.measure(at, lambda: None)
        found |= {f"click {name}, {row.name}": row.iou for row in rows.regions}
    print(", ".join(f"{name} {value:.4g}" for name, value in found.items()), file=sys.stderr, flush=True)
    return found


def _numbers(report: "ProbeReport") -> dict[str, float]:
    """The numbers that are compared."""
    found = {}
    for result in report.results:
        for name in result.numbers:
            if name in NUMBERS[result.task] or name.startswith(REGIONS):
                found[f"{result.task} {name}"] = result.mean(name)
    print(", ".join(f"{name} {value:.4g}" for name, value in found.items()), file=sys.stderr, flush=True)
    return found
