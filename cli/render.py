"""`ff render`: views and layers of a field as PNG files or videos; two fields compared."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .comparing import DEFAULT_PANELS, Panel, compare
from .console import Console, Summary
from .flights import Flight, FlightOptions, flight_of
from .inputs import load_field
from .layers import LayerDrawer, layer_drawer
from .options import ComputeOptions, Names, Output, ReportOptions, WriteOptions

if TYPE_CHECKING:
    from featurefields.field import FeatureField

VIDEO_ENDINGS = (".mp4", ".webm")


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Draw views and layers of a field to PNG files called <view>_<layer>.png, or to videos.

    Draws the held-out views that the field remembers, or what --view, --all, --orbit, --fly or --path choose.
    With --compare, what two fields show of the same views: before, after, and where they differ.
    """

    field: tyro.conf.Positional[
        Annotated[Path | None, tyro.conf.arg(metavar="[FIELD]", help_behavior_hint="")]
    ] = None
    """A .safetensors archive, a folder that `ff fit` wrote, or any 3DGS .ply."""
    compare: Annotated[
        tuple[Path, Path] | None, tyro.conf.arg(metavar="BEFORE AFTER", help_behavior_hint="")
    ] = None
    """Compare two fields instead of drawing one."""
    output: Output
    """Folder for the pictures; a video when it ends in .mp4 or .webm (layers side by side); with --compare also a
    .png: before, after and difference of every view on one sheet."""
    video: Literal["none", "mp4", "webm"] = "none"
    """Write videos <layer>.mp4 or .webm into the folder instead of pictures."""
    layers: Names = ()
    """Which layers of rgb indep dep normal roughness feature feature_indep feature_dep depth alpha (default: all
    that the field has; rgb for one video file and with --compare)."""
    panels: Annotated[
        tuple[Panel, ...], tyro.conf.arg(metavar="before|after|difference|wipe ...", help_behavior_hint="")
    ] = DEFAULT_PANELS
    """What --compare puts side by side (default: before after difference)."""
    flight: tyro.conf.OmitArgPrefixes[FlightOptions] = FlightOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()

    @property
    def single_video(self) -> bool:
        return self.output.suffix.lower() in VIDEO_ENDINGS


def run(options: RenderOptions, console: Console) -> Summary:
    """Draw and write; nothing is drawn when one of the files exists and may not be replaced."""
    _check(options)
    options.flight.check()
    if options.compare is not None:
        return compare(
            options.compare,
            options.output,
            options.flight,
            layers=options.layers or ("rgb",),
            panels=options.panels,
            video=options.video,
            compute=options.compute,
            overwrite=options.write.overwrite,
            console=console,
        )
    assert options.field is not None
    as_video = options.single_video or options.video != "none"
    field = load_field(options.field)
    device, rasterizer = options.compute.torch_device(), options.compute.rasterizer()
    field, flight = flight_of(options.flight, field, options.field, video=as_video)
    field = field.to(device)
    wanted = options.layers or (("rgb",) if options.single_video else ())
    drawer = layer_drawer([field], flight, wanted, rasterizer)
    if as_video:
        return _videos(options, field, flight, drawer, console)
    return _pictures(options, field, flight, drawer, console)


def _check(options: RenderOptions) -> None:
    if (options.field is None) == (options.compare is None):
        found = "neither was" if options.field is None else "both were"
        raise PromptError(
            f"ff render draws one FIELD or compares two with --compare BEFORE AFTER; {found} given"
        )
    if options.single_video and options.video != "none":
        raise PromptError(
            f"--output {options.output} is a video already; leave --video out, or name a folder"
        )
    if options.compare is None and options.panels != DEFAULT_PANELS:
        raise PromptError("--panels belong to --compare BEFORE AFTER; pass that, or choose --layers")
    if not options.panels:
        raise PromptError("--panels asked for nothing; choose of before, after, difference and wipe")


def _pictures(
    options: RenderOptions, field: "FeatureField", flight: Flight, drawer: LayerDrawer, console: Console
) -> Summary:
    """One PNG a view and layer."""
    from featurefields.atomic import refuse_existing
    from featurefields.images import write_png

    paths = {
        (view, layer): options.output / f"{view}_{layer}.png"
        for view in flight.cameras
        for layer in drawer.layers
    }
    for path in paths.values():
        refuse_existing(path, options.write.overwrite)
    milliseconds = []
    with console.progress("drawing", len(flight.cameras)) as advance:
        for view, camera in flight.cameras.items():
            start = time.perf_counter()
            drawn = drawer.drawn(field, camera)
            milliseconds.append(1e3 * (time.perf_counter() - start))
            for layer, picture in drawer.painted(drawn).items():
                write_png(paths[view, layer], picture, overwrite=options.write.overwrite)
            advance(ms=milliseconds[-1])
    rows = {"views": len(flight.cameras), **_facts(field, flight, drawer, milliseconds)}
    return Summary(f"drew {options.field} into {options.output}", rows, list(paths.values()))


def _videos(
    options: RenderOptions, field: "FeatureField", flight: Flight, drawer: LayerDrawer, console: Console
) -> Summary:
    """One video with the layers side by side, or one for each layer."""
    from featurefields.atomic import refuse_existing
    from featurefields.visualization.sheets import strip
    from featurefields.visualization.video import write_video

    paths = (
        [options.output]
        if options.single_video
        else [options.output / f"{layer}.{options.video}" for layer in drawer.layers]
    )
    for path in paths:
        refuse_existing(path, options.write.overwrite)
    milliseconds = []
    overwrite = options.write.overwrite
    with ExitStack() as files, console.progress("drawing frames", len(flight.cameras)) as advance:
        writers = [
            files.enter_context(write_video(path, fps=flight.fps, overwrite=overwrite)) for path in paths
        ]
        for camera in flight.cameras.values():
            start = time.perf_counter()
            drawn = drawer.drawn(field, camera)
            milliseconds.append(1e3 * (time.perf_counter() - start))
            pictures = list(drawer.painted(drawn).values())
            if options.single_video and len(pictures) > 1:
                pictures = [strip(pictures, drawer.layers)]
            for writer, picture in zip(writers, pictures, strict=True):
                writer.add(picture)
            advance(ms=milliseconds[-1])
    rows = {
        "frames": len(flight.cameras),
        "fps": flight.fps,
        "seconds": len(flight.cameras) / flight.fps,
        **_facts(field, flight, drawer, milliseconds),
        "MB": sum(path.stat().st_size for path in paths) / 1e6,
    }
    return Summary(f"filmed {options.field}", rows, paths)


def _facts(
    field: "FeatureField", flight: Flight, drawer: LayerDrawer, milliseconds: list[float]
) -> dict[str, object]:
    sizes = dict.fromkeys(f"{camera.width} x {camera.height}" for camera in flight.cameras.values())
    return {
        "layers": list(drawer.layers),
        "size": list(sizes),
        "splats": len(field),
        "backend": drawer.rasterizer.name,
        "ms per view": median(milliseconds),
    }
