"""What a frozen network knows: probes on held-out scenes, matching on captures, one click in a field."""

import contextlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

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
    """Mean IoU of one click an object, with the network's features lifted onto a fitted field."""
    from featurefields_cli.main import main

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        code = main(
            ["eval", str(field), "--data", str(data), "--features", f"transformers:{network}", "--solvers", "uplift",
             "--json"]
        )  # fmt: skip
    if code:
        raise RuntimeError(f"measuring clicks of {network} ended with code {code}: {told.getvalue()[-500:]}")
    return click_numbers(json.loads(told.getvalue()))


def click_numbers(summary: dict[str, object]) -> dict[str, float]:
    """The clicks of every layer and solver in what `ff eval --json` tells."""
    found = {}
    clicks = summary.get("clicks", {})
    assert isinstance(clicks, dict)
    for name, tables in clicks.items():
        for region in tables.get("regions", []):
            found[f"click {name}, {region.get('name')}"] = region.get("iou")
    return {name: value for name, value in found.items() if isinstance(value, float)}


def _numbers(report: object) -> dict[str, float]:
    """The compared numbers of a `ProbeReport`."""
    found = {}
    for result in report.results:  # type: ignore[attr-defined]
        for name in result.numbers:
            if name in NUMBERS[result.task] or name.startswith(REGIONS):
                found[f"{result.task} {name}"] = result.mean(name)
    print(", ".join(f"{name} {value:.4g}" for name, value in found.items()), file=sys.stderr, flush=True)
    return found
