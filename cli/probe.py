"""`ff probe`: what frozen features know of depth, normals, classes and correspondence."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import FittingError, UnknownNameError

from .console import Console, Summary
from .features import find_extractor
from .options import ComputeOptions, Names, Number, OptionalPath, ReportOptions, WriteOptions
from .probe_tables import headline_rows, probe_tables, short_name

if TYPE_CHECKING:
    from featurefields.evaluation.probes import ProbeConfig, ProbeReport
    from featurefields.readers.probe_sets import ProbeSet

OptionalOutput = Annotated[
    Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE.json", help_behavior_hint="")
]
Folders = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER ...")]
Extractors = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")]
Tasks = Annotated[
    tuple[Literal["depth", "normals", "segmentation", "correspondence"], ...],
    tyro.conf.arg(help_behavior_hint=""),
]


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Measure what frozen features know: small linear heads for depth, normals and classes, and matching of views.

    Heads are trained on some scenes and measured on held-out ones. docs/probes.md states every protocol and the
    layouts of the data sets.
    """

    data: Folders
    """Folders of scenes in our format (two at least for trained probes), or the folder of a public data set."""
    features: Extractors
    """Extractors to compare, as in `ff fit`: classical, dinov2, transformers:FOLDER, onnx:FILE …"""
    tasks: Tasks = ()
    """What is probed; without, everything that the data have truth for."""
    held_out: Names = ()
    """Scenes to measure on; without, what the data set says, or else the last quarter of the scenes by name."""
    layout: str = "auto"
    """Layout of the data: scenes, nyuv2, scannet, scannetpp, kitti, ade20k, navi; auto looks."""
    labels: Literal["category", "material"] = "category"
    """Classes of our own scenes: what an object is, or what it is made of."""
    schedule: Literal["fast", "official"] = "fast"
    """fast: minutes on a processor, on kept features. official: as published, with augmented pictures; wants a GPU."""
    seeds: int = 3
    """Runs of everything random; tables show mean ± standard deviation."""
    steps: Number = None
    """Training steps of each head, instead of the schedule's."""
    no_class_token: bool = False
    """Leave out a transformer's class token, which heads for depth and normals otherwise read beside every patch."""
    longest_side: Number = None
    """Make pictures smaller, so that their longer side has so many pixels."""
    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Take every N-th picture of each scene."""
    output: OptionalOutput = None
    """Also write everything as one JSON object to this file."""
    cache: OptionalPath = None
    """Folder that keeps extracted features; by default the user's cache folder."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: ProbeOptions, console: Console) -> Summary:
    """Probe every extractor, and write the JSON file if one was asked for."""
    import json
    import time

    from featurefields.atomic import refuse_existing, write_bytes
    from featurefields.evaluation.probes import run_probes

    start = time.perf_counter()
    _check(options)
    if options.output is not None:
        refuse_existing(options.output, options.write.overwrite)
    device = options.compute.torch_device()
    data = _data(options)
    for note in data.notes:
        console.note(note)
    config = _config(options)
    reports: dict[str, ProbeReport] = {}
    for name in options.features:
        extractor = find_extractor(name, device, console)
        assert extractor is not None, "none is refused"

        def progress(title: str, steps: int, name: str = name):
            return console.progress(f"{short_name(name)}: {title}", steps)

        reports[name] = run_probes(extractor, data, config, device=device, progress=progress)
        for note in reports[name].notes[len(data.notes) :] if len(reports) == 1 else ():
            console.note(note)
    rows = {"data": data.name, **_sides(data), "schedule": options.schedule, "seeds": options.seeds}
    rows |= {**headline_rows(reports), "seconds": round(time.perf_counter() - start, 1)}
    details = {"extractors": {name: report.as_json() for name, report in reports.items()}}
    title, paths = f"probed {len(reports)} extractor{'s' if len(reports) > 1 else ''}", []
    if options.output is not None:
        content = (
            json.dumps(Summary(title, rows, details=details).as_json(), indent=1, allow_nan=False) + "\n"
        )
        paths.append(write_bytes(options.output, content.encode(), overwrite=options.write.overwrite))
    return Summary(title, rows, paths, details=details, tables=probe_tables(reports))


def _check(options: ProbeOptions) -> None:
    """Refuse what makes no sense.

    Raises:
        FittingError: numbers below 1.
        UnknownNameError: "none" as an extractor, or one twice.
    """
    for name, value in (("--seeds", options.seeds), ("--every", options.every), ("--steps", options.steps)):
        if value is not None and value < 1:
            raise FittingError(f"{name} must be at least 1, got {value}")
    if "none" in options.features or len(set(options.features)) < len(options.features):
        raise UnknownNameError(
            f"--features names the extractors to compare, each once, got {' '.join(options.features)}"
        )


def _data(options: ProbeOptions) -> "ProbeSet":
    from featurefields.readers.probe_sets import ProbeSource, read_probe_set

    source = ProbeSource(
        held_out=options.held_out,
        longest_side=options.longest_side,
        labels=options.labels,
        every=options.every,
    )
    return read_probe_set(options.data, layout=options.layout, source=source)


def _config(options: ProbeOptions) -> "ProbeConfig":
    from featurefields.evaluation.probes import ProbeConfig
    from featurefields.vision.cache import default_cache_dir

    return ProbeConfig(
        tasks=options.tasks,
        schedule=options.schedule,
        steps=options.steps,
        seeds=tuple(range(options.seeds)),
        class_token=not options.no_class_token,
        cache=options.cache or default_cache_dir(),
    )


def _sides(data: "ProbeSet") -> Mapping[str, object]:
    """How many scenes and pictures lie on each side."""
    held = data.scenes("test")
    names = f": {', '.join(held)}" if len(held) <= 4 else ""
    return {
        "training": f"{len(data.split('train')):,} pictures of {_scenes(len(data.scenes('train')))}",
        "held out": f"{len(data.split('test')):,} pictures of {_scenes(len(held))}{names}",
    }


def _scenes(count: int) -> str:
    return "1 scene" if count == 1 else f"{count:,} scenes"
