"""`ff segment`: prompts to a selection, its pictures and PLYs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .console import Console, Summary
from .features import FeatureOptions
from .history import SessionOptions, Settings, go_on, open_session, reflections, text_tower
from .inputs import FIELD_FILE
from .options import ComputeOptions, Decimal, Number, OptionalPath, Output, ReportOptions, WriteOptions
from .photos import scene_of
from .prompts import PromptOptions, prompts_of
from .selected import (
    OBJECT,
    REST,
    SELECTION_FILE,
    candidates_of,
    overlay_views,
    threshold_of,
    write_parts_of,
    write_selection_results,
)
from .sources import Source, segmentable
from .viewpoints import view_name

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.segmentation.prompts import Prompt
    from featurefields.selection import Selection

Compared = Annotated[
    Literal["indep", "total", "dep"] | None,
    tyro.conf.arg(name="field", metavar="indep|total|dep", help_behavior_hint=""),
]


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """Select an object in 3D by pointing at it in photos: clicks, boxes, strokes, masks, words.

    Writes the selection, the object and the rest as ordinary 3DGS .ply files, and pictures of the selection. A splat
    that comes without features (a .ply with --data) is given features first; nothing is trained.
    """

    source: Annotated[tyro.conf.Positional[OptionalPath], tyro.conf.arg(name="field", metavar="FIELD")] = None
    """A folder that `ff fit` wrote, a .safetensors archive with features, or a 3DGS .ply of the photos in --data."""
    output: Output
    """Folder for the results; a name ending in .ply for the object alone."""
    splat: OptionalPath = None
    """The same as a .ply for FIELD."""
    prompt: tyro.conf.OmitArgPrefixes[PromptOptions] = PromptOptions()
    every: Annotated[bool, tyro.conf.arg(name="all")] = False
    """Select every object at once, without prompts: one .ply an object, and the whole scene with labels."""
    compared: Compared = None
    """Which features are compared: indep (default), what surfaces are; dep, what they reflect to the photo's camera;
    total, both."""
    candidate: Number = None
    """Which of the selections that the prompts may mean (a part, the object, a group), the likeliest being 1; the
    summary lists them."""
    threshold: Decimal = None
    """Least similarity (cosine) with what was prompted, instead of candidates."""
    everywhere: bool = False
    """Also select what is alike but not connected to a prompt."""
    history: tyro.conf.OmitArgPrefixes[SessionOptions] = SessionOptions()
    data: OptionalPath = None
    """Folder of the photos, when it is not where the field was fitted; needed for a .ply."""
    transform: OptionalPath = None
    """JSON file that says where a .ply is, when that cannot be found out."""
    frame_world: bool = False
    """Write the .ply files in the field's own frame instead of the photos'."""
    lifting: tyro.conf.OmitArgPrefixes[FeatureOptions] = FeatureOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()

    @property
    def given(self) -> Path:
        """What is segmented."""
        found = self.splat or self.source
        if found is None or (self.splat and self.source):
            raise PromptError(
                "one thing can be segmented: FIELD, which is a folder that `ff fit` wrote, an archive or a .ply with "
                "its photos (--data), or the same .ply as --splat"
            )
        return found

    @property
    def from_splat(self) -> bool:
        """Whether a .ply has to be given features first."""
        return self.splat is not None or (self.given.suffix.lower() == ".ply" and self.data is not None)

    @property
    def given_source(self) -> Source:
        """The same, and what is needed to make a field of it."""
        return Source(
            path=self.given, splat=self.from_splat, data=self.data, transform=self.transform, lifting=self.lifting,
            compute=self.compute,
        )  # fmt: skip

    @property
    def alone(self) -> bool:
        """Whether only the object is written."""
        return self.output.suffix.lower() == ".ply"


def run(options: SegmentOptions, console: Console) -> Summary:
    """Prompt, select, write."""
    from featurefields.atomic import refuse_existing
    from featurefields.files.session import write_session

    _refuse(options)
    rasterizer = options.compute.rasterizer()
    if options.every:
        return _all(options, rasterizer, console)
    field, lifted = segmentable(options.given_source, rasterizer, console)
    scene = scene_of(field, options.data, console)
    if scene is None:
        console.note("the photos are not at hand: prompts are in pixels of the drawn view")
    prompts = prompts_of(options.prompt, field, scene)
    view = _view(options, prompts, field)
    if not options.alone:
        for name in overlay_views(field, view):
            refuse_existing(options.output / name, options.write.overwrite)
    device = options.compute.torch_device()
    text = text_tower(prompts, options.history, options.lifting.features, device, console)
    settings = Settings(
        field=options.compared,
        threshold=options.threshold,
        everywhere=options.everywhere,
        candidate=options.candidate,
    )
    session = open_session(options.history, settings, field.to(device), rasterizer, text)
    started = time.perf_counter()
    go_on(session, prompts, options.history, field)
    selection = session.named(options.history.name or "").to("cpu")
    seconds = time.perf_counter() - started
    reflected = reflections(session, prompts)
    for line in reflected:
        console.note(line)
    paths = _write(options, field, selection, view, scene, rasterizer, console, lifted=lifted)
    if options.history.session is not None:
        paths.append(write_session(session.record(), options.history.session, overwrite=True))
    rows = {
        "name": options.history.name,
        "view": view,
        "prompts": options.prompt.told(),
        "steps of the session": len(session.steps) if options.history.session else None,
        "combined": [f"{operation} {name}" for operation, name in options.history.combine],
        "features": session.config.field,
        "splats selected": selection.count,
        "of": len(field),
        "candidates": candidates_of(selection),
        "threshold": threshold_of(selection),
        "selecting ms": round(1000 * seconds),
    }
    return Summary(
        f"selected in {options.given}", rows, paths, _next(options, paths, lifted), {"reflections": reflected}
    )


def _refuse(options: SegmentOptions) -> None:
    """Refuse what cannot work before anything is read."""
    from featurefields.atomic import refuse_existing

    options.history.check()
    if options.every:
        if options.prompt.given or options.alone or options.history != SessionOptions():
            raise PromptError(
                "--all selects every object and writes a folder; it goes without prompts, sessions and an output .ply"
            )
        return
    if not (options.prompt.positive or options.history.goes_on or options.history.combine):
        raise PromptError(
            "nothing was clicked; say which pixel shows the object with --click X,Y (or --box, --scribble, --mask, "
            "--text)"
        )
    names = (
        [options.output.name]
        if options.alone
        else [SELECTION_FILE, *(f"{part}.ply" for part in (OBJECT, REST))]
    )
    if options.from_splat and not options.alone:
        names.append(FIELD_FILE)
    folder = options.output.parent if options.alone else options.output
    for name in names:
        refuse_existing(folder / name, options.write.overwrite)


def _all(options: SegmentOptions, rasterizer: "Rasterizer", console: Console) -> Summary:
    """Every object at once; a splat is given features first."""
    from featurefields.files.archive import write_archive

    from .everything import refuse
    from .everything import run as run_everything

    overwrite = options.write.overwrite
    refuse(options.output, overwrite)
    field, lifted = segmentable(options.given_source, rasterizer, console, needs_views=False)
    scene = scene_of(field, options.data, console) if field.about.cameras else None
    found = run_everything(
        field, scene, options.output, console, source=options.given, compute=options.compute, overwrite=overwrite,
        in_world=options.frame_world,
    )  # fmt: skip
    if not lifted:
        return found
    archive = write_archive(field, options.output / FIELD_FILE, overwrite=overwrite)
    return replace(found, paths=[*found.paths, archive])


def _view(options: SegmentOptions, prompts: "Sequence[Prompt]", field: "FeatureField") -> str:
    """The view that is shown first: the given one, that of the first prompt, or the first of all."""
    from featurefields.segmentation.prompts import Text

    names = list(field.about.cameras)
    if options.prompt.view is not None:
        return view_name(options.prompt.view, names)
    cameras = [prompt.camera for prompt in prompts if not isinstance(prompt, Text)]
    prompted = [name for camera in cameras for name, known in field.about.cameras.items() if known is camera]
    return (prompted or names)[0]


def _write(
    options: SegmentOptions,
    field: "FeatureField",
    selection: "Selection",
    view: str,
    scene: "Scene | None",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    lifted: bool,
) -> list[Path]:
    """The object alone, or everything."""
    from featurefields.files.archive import write_archive

    overwrite, in_world = options.write.overwrite, options.frame_world
    if options.alone:
        if not selection.count:
            raise PromptError(
                f"nothing is selected, so there is nothing to write to {options.output}; prompt again"
            )
        parts = {options.output.stem: selection.mask}
        return write_parts_of(
            field, parts, options.output.parent, console, overwrite=overwrite, in_world=in_world
        )
    paths = write_selection_results(
        field,
        selection,
        options.output,
        view,
        scene,
        rasterizer,
        console,
        overwrite=overwrite,
        in_world=in_world,
    )
    if lifted:
        paths.append(write_archive(field, options.output / FIELD_FILE, overwrite=overwrite))
    return paths


def _next(options: SegmentOptions, paths: "Sequence[Path]", lifted: bool) -> list[str]:
    """Commands to go on with."""
    if options.alone:
        return [f"ff info {options.output}"]
    source = options.output if lifted else options.given
    return [f"ff edit {source} --selection {paths[0]} --remove-specular -o {options.output}/edited"]
