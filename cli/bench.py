"""`ff bench segment`: segmentation by the protocols of the literature, and by a simulated user."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import SceneError, UnknownNameError

from .bench_tables import click_rows, click_tables, mask_rows, mask_tables
from .clicks import ClickTrial
from .console import Console, Summary
from .features import find_extractor, known_solver
from .inputs import existing
from .options import ComputeOptions, Names, OptionalPath, ReportOptions, WriteOptions
from .protocols import MaskRow, measure_tasks, reference_tasks
from .protocols_clicks import ClickResults, UserTrial, first_clicks
from .protocols_fields import COLOUR, Workbench
from .protocols_text import PhraseRow, measure_phrases, tower_of
from .viewpoints import held_out

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.vision.interface import Extractor

Report = Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE.json")]


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """Measure how well objects are segmented.

    docs/segmentation_benchmarks.md states every protocol and the layout of its folder. Compared are the field's own
    view-independent features, with --features one plain feature field (DFF), and colours alone.
    """

    suite: tyro.conf.Positional[Literal["segment"]]
    """What is measured."""
    data: Path
    """Folder of the benchmark: a scene of photos with instance masks (clicks, spin-nerf), or a public data set."""
    protocol: Literal["clicks", "nvos", "spin-nerf", "lerf-ovs"] = "clicks"
    """clicks: one click, then a simulated user. nvos: strokes in one view, a mask in another. spin-nerf: a mask in one
    view, all other views. lerf-ovs: phrases."""
    field: OptionalPath = None
    """A field, or a folder of fields called as their scenes; without, `ff fit` makes them beside the report."""
    features: str = "none"
    """Extractor of the features (as in `ff fit`), for the plain feature field, --solvers and phrases."""
    solvers: Names = ()
    """Ways to lift the extractor's features that are compared (uplift, least-squares, sgd); without, the features
    stored in the field."""
    clicks: int = 8
    """How often the simulated user may click on an object."""
    user_views: int = 0
    """How many of the fitted views the simulated user looks at, evenly spread; 0 for all."""
    output: Report = Path("report.json")
    """File for the report."""
    cache: OptionalPath = None
    """Folder that keeps extracted features; by default the user's cache folder."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: BenchOptions, console: Console) -> Summary:
    """Measure, and write the report."""
    import json
    from dataclasses import replace

    from featurefields.atomic import refuse_existing, write_bytes

    _check(options)
    existing(options.data)
    refuse_existing(options.output, options.write.overwrite)
    device = options.compute.torch_device()
    extractor = find_extractor(options.features, device, console)
    bench = Workbench(
        console, options.compute, None if options.field is None else existing(options.field),
        options.output.with_name(f"{options.output.stem}_fields"), options.features, extractor, options.solvers,
        options.cache,
    )  # fmt: skip
    measure = {"clicks": _clicks, "lerf-ovs": _phrases}.get(options.protocol, _masks)
    summary = measure(options, bench)
    content = json.dumps(summary.as_json(), indent=1, allow_nan=False) + "\n"
    path = write_bytes(options.output, content.encode(), overwrite=options.write.overwrite)
    return replace(summary, paths=[path])


def _check(options: BenchOptions) -> None:
    """Refuse what makes no sense.

    Raises:
        UnknownNameError: solvers without an extractor, an unknown one, or numbers of clicks or views below their least.
    """
    if options.solvers and options.features == "none":
        raise UnknownNameError(
            f"--solvers {' '.join(options.solvers)} lift features, but --features names no extractor; name one"
        )
    for solver in options.solvers:
        known_solver(solver)
    for name, value, least in (
        ("--clicks", options.clicks, 1),
        ("--user-views", options.user_views, 0),
    ):
        if value < least:
            raise UnknownNameError(
                f"{name} must be at least {least}, got {value}; leave it out for the default"
            )


def _clicks(options: BenchOptions, bench: Workbench) -> Summary:
    """One click an object, and the simulated user."""
    from featurefields.evaluation.regions import scene_objects

    field, scene = bench.scene(options.data, alone=True)
    objects = scene_objects(scene)
    clicks = first_clicks(scene, objects)
    compared, notes = bench.compared(field, scene)
    _told(bench, notes)
    trial = ClickTrial.of(field, scene, clicks, objects, rasterizer=options.compute.rasterizer())
    user = UserTrial.of(trial, options.user_views)
    single, table = {}, {}
    with bench.console.progress("clicking objects", 2 * len(clicks) * len(compared)) as advance:
        for name, entry in compared.items():
            single[name] = trial.measure(lambda _, entry=entry: entry, lambda: advance(1))
            table[name] = user.measure(entry, options.clicks, lambda: advance(1))
    found = ClickResults(single, table)
    rows = {
        "protocol": options.protocol,
        "scene": scene.name,
        "objects": len(clicks),
        "views the user looks at": len(user.views),
        "views judged": len(scene.split("test")),
        "splats": len(field),
        **click_rows(found),
    }
    details = {
        "single click": {name: asdict(table) for name, table in found.single.items()},
        "simulated user": {name: asdict(table) for name, table in found.user.items()},
        "notes": notes,
    }
    return Summary(f"segmented {scene.name} by clicks", rows, details=details, tables=click_tables(found))


def _masks(options: BenchOptions, bench: Workbench) -> Summary:
    """A reference in one view, masks in others."""
    tasks_of = reference_tasks(options.protocol, options.data)
    bench.check_fields(list(tasks_of))
    found: list[MaskRow] = []
    notes: list[str] = []
    for photos, tasks_in in tasks_of.items():
        field, scene = bench.scene(photos, alone=len(tasks_of) == 1)
        tasks = tasks_in(scene)
        notes += _seen_before(field, scene.name, [target.view for task in tasks for target in task.targets])
        compared, more = bench.compared(field, scene)
        notes += [f"{scene.name}: {note}" for note in _told(bench, more)]
        with bench.console.progress(f"segmenting {scene.name}", len(tasks) * len(compared)) as advance:
            found += measure_tasks(
                field, scene, tasks, compared, options.compute.rasterizer(), lambda: advance(1)
            )
    return _summary(options, len(tasks_of), found, notes)


def _phrases(options: BenchOptions, bench: Workbench) -> Summary:
    """Phrases, by their relevancy."""
    from featurefields.evaluation.lerf_labels import read_lerf_ovs
    from featurefields.evaluation.protocol_folders import labelled_view

    tower = tower_of(bench.extractor, options.features)
    scenes = read_lerf_ovs(options.data)
    bench.check_fields([labels.photos for labels in scenes])
    found: list[PhraseRow] = []
    notes: list[str] = []
    for labels in scenes:
        field, scene = bench.scene(labels.photos, alone=len(scenes) == 1)
        every, more = bench.compared(field, scene)
        compared = {name: entry for name, entry in every.items() if name != COLOUR}
        _refuse_foreign(compared, bench.extractor)
        notes += [f"{scene.name}: {note}" for note in _told(bench, more)]
        judged = [labelled_view(scene, frame.photo).name for frame in labels.frames]
        notes += _seen_before(field, scene.name, judged)
        count = sum(len(frame.labels) for frame in labels.frames)
        with bench.console.progress(f"looking for phrases in {scene.name}", count) as advance:
            found += measure_phrases(
                field, scene, labels.frames, compared, tower, options.compute.rasterizer(), lambda: advance(1)
            )
    return _summary(options, len(scenes), found, notes)


def _summary(
    options: BenchOptions,
    scenes: int,
    found: Sequence[MaskRow] | Sequence[PhraseRow],
    notes: Sequence[str],
) -> Summary:
    rows = {"protocol": options.protocol, "scenes": scenes, **mask_rows(found)}
    details = {"rows": [asdict(row) for row in found], "notes": list(notes)}
    title = f"segmented {options.data} by the protocol {options.protocol}"
    return Summary(title, rows, details=details, tables=mask_tables(found))


def _told(bench: Workbench, notes: Sequence[str]) -> Sequence[str]:
    """The same, told."""
    for note in notes:
        bench.console.note(note)
    return notes


def _seen_before(field: "FeatureField", scene: str, judged: Sequence[str]) -> list[str]:
    """A note where views are judged that the field does not remember as held out."""
    seen = sorted(set(judged) - set(held_out(field)))
    if not seen:
        return []
    return [f"{scene}: {len(seen)} of the judged photos may have been fitted (for example {seen[0]})"]


def _refuse_foreign(compared: "dict[str, FeatureField]", extractor: "Extractor | None") -> None:
    """Raise `SceneError` when there are no features, or features of another extractor than the one with words."""
    known = extractor.fingerprint if extractor is not None else ""
    for name, field in compared.items():
        if field.about.extractor != known:
            raise SceneError(
                f"the field's features ({name}) are of {field.about.extractor or 'an unknown extractor'}, and the "
                f"phrases of {known}: they cannot be compared; lift the extractor's with --solvers uplift"
            )
    if not compared:
        raise SceneError("the field has no features to look for phrases in; lift some with --solvers uplift")
