"""Two fields seen from the same cameras: pictures, sheets and videos of before, after and where they differ."""

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from featurefields.errors import PromptError

from .console import Console, Summary
from .flights import Flight, FlightOptions, flight_of
from .inputs import load_field
from .layers import LayerDrawer, head_of, layer_drawer
from .options import ComputeOptions

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField

Panel = Literal["before", "after", "difference", "wipe"]
DEFAULT_PANELS: tuple[Panel, ...] = ("before", "after", "difference")
SHEET_ROWS = 12
"""Most views on one sheet."""
VISIBLE = 2 / 255
"""A pixel changed when a colour differs by more than this: rounding alone does not."""


@dataclass
class Tally:
    """Differences of the pictures of one layer, over all views."""

    squares: float = 0.0
    changed: int = 0
    pixels: int = 0
    largest: float = 0.0
    by_view: dict[str, float | None] = field(default_factory=dict)

    def add(self, view: str, before: "Tensor", after: "Tensor") -> None:
        """Count one view."""
        from featurefields.visualization.comparison import change

        squares = float((before - after).double().square().mean())
        moved = change(before, after)
        self.squares += squares * moved.numel()
        self.changed += int((moved > VISIBLE).sum())
        self.pixels += moved.numel()
        self.largest = max(self.largest, float(moved.max()))
        self.by_view[view] = _decibel(squares)

    def rows(self, layer: str) -> dict[str, object]:
        """What a summary says."""
        psnr = _decibel(self.squares / self.pixels)
        return {
            f"{layer} PSNR dB": "identical" if psnr is None else psnr,
            f"{layer} pixels changed %": 100 * self.changed / self.pixels,
            f"{layer} largest difference": self.largest,
        }


def compare(
    sources: tuple[Path, Path],
    output: Path,
    options: FlightOptions,
    *,
    layers: tuple[str, ...],
    panels: tuple[Panel, ...],
    video: Literal["none", "mp4", "webm"],
    compute: ComputeOptions,
    overwrite: bool,
    console: Console,
) -> Summary:
    """Draw both fields from the cameras of the first (or the second, when only that has any) and write.

    Raises:
        PromptError: the fields' features cannot be compared.
        UnknownNameError, FileFormatError, WriteError: as `ff render` does.
    """
    ending = output.suffix.lower()
    as_video = ending in (".mp4", ".webm") or video != "none"
    before, after, flight = _fields(sources, options, as_video)
    device, rasterizer = compute.torch_device(), compute.rasterizer()
    before, after = before.to(device), after.to(device)
    _check_features(before, after, layers)
    drawer = layer_drawer([before, after], flight, layers, rasterizer)
    tallies = {layer: Tally() for layer in drawer.layers}
    job = _Job(before, after, flight, drawer, panels, tallies, console, overwrite)
    if as_video:
        single = ending in (".mp4", ".webm")
        paths = job.videos(
            {layer: output if single else output / f"{layer}.{video}" for layer in drawer.layers}
        )
    elif ending == ".png":
        paths = job.sheet(output)
    else:
        paths = job.pictures(output)
    rows: dict[str, object] = {"views": len(flight.cameras)}
    for layer, tally in tallies.items():
        rows |= tally.rows(layer)
    rows |= {"splats before": len(before), "splats after": len(after), "backend": rasterizer.name}
    details = {"PSNR by view": {layer: tally.by_view for layer, tally in tallies.items()}}
    return Summary(f"compared {sources[0]} with {sources[1]}", rows, paths, details=details)


@dataclass(frozen=True)
class _Job:
    before: "FeatureField"
    after: "FeatureField"
    flight: Flight
    drawer: LayerDrawer
    panels: tuple[Panel, ...]
    tallies: dict[str, Tally]
    console: Console
    overwrite: bool

    def pictures(self, folder: Path) -> list[Path]:
        """For every view and layer the panels and a slider in five steps."""
        from featurefields.images import write_png
        from featurefields.visualization.comparison import slider

        paths = [
            folder / f"{view}_{layer}_{kind}.png"
            for view in self.flight.cameras
            for layer in self.drawer.layers
            for kind in ("compared", "slider")
        ]
        limits = self._begin(paths)
        with self.console.progress("comparing", len(self.flight.cameras)) as advance:
            for view, camera in self.flight.cameras.items():
                for layer, (one, two) in self._pair(view, camera).items():
                    names = (folder / f"{view}_{layer}_{kind}.png" for kind in ("compared", "slider"))
                    for path, picture in zip(
                        names, (self._row(one, two, limits[layer]), slider(one, two)), strict=True
                    ):
                        write_png(path, picture, overwrite=self.overwrite)
                advance()
        return paths

    def sheet(self, path: Path) -> list[Path]:
        """Every view (and layer) in a row of panels on one sheet."""
        from featurefields.images import write_png
        from featurefields.visualization.sheets import strip

        count = len(self.flight.cameras) * len(self.drawer.layers)
        if count > SHEET_ROWS:
            raise PromptError(
                f"{count} rows of pictures are too many for the one sheet {path}; choose at most {SHEET_ROWS} with "
                "--view, or name a folder"
            )
        limits = self._begin([path])
        pictures, labels = [], []
        with self.console.progress("comparing", len(self.flight.cameras)) as advance:
            for view, camera in self.flight.cameras.items():
                for layer, (one, two) in self._pair(view, camera).items():
                    row = self._panels(one, two, limits[layer], 0.5)
                    pictures += row.values()
                    about = view if len(self.drawer.layers) == 1 else f"{view} {layer}"
                    labels += [f"{about} {label}" for label in row]
                advance()
        write_png(path, strip(pictures, labels, columns=len(self.panels)), overwrite=self.overwrite)
        return [path]

    def videos(self, paths: dict[str, Path]) -> list[Path]:
        """A video of the panels for every layer; below each other when they share a path. A wipe's line swings."""
        import torch

        from featurefields.visualization.video import write_video

        files = list(dict.fromkeys(paths.values()))
        limits = self._begin(files)
        count = len(self.flight.cameras)
        with ExitStack() as stack, self.console.progress("comparing frames", count) as advance:
            writers = {
                path: stack.enter_context(write_video(path, fps=self.flight.fps, overwrite=self.overwrite))
                for path in files
            }
            for index, (view, camera) in enumerate(self.flight.cameras.items()):
                place = 0.5 + 0.45 * math.cos(2 * math.pi * index / max(count, 1))
                rows = {
                    layer: self._row(one, two, limits[layer], place)
                    for layer, (one, two) in self._pair(view, camera).items()
                }
                for path, writer in writers.items():
                    writer.add(torch.cat([row for layer, row in rows.items() if paths[layer] == path]))
                advance()
        return files

    def _begin(self, paths: list[Path]) -> dict[str, float]:
        """Refuse what exists; the brightest difference of every layer, from some of the views."""
        from featurefields.atomic import refuse_existing
        from featurefields.visualization.comparison import change, change_limit

        for path in paths:
            refuse_existing(path, self.overwrite)
        if "difference" not in self.panels:
            return dict.fromkeys(self.drawer.layers, 1.0)
        some = list(self.flight.cameras.values())[:: -(-len(self.flight.cameras) // 4)]
        pairs = [self._drawn(camera) for camera in some]
        return {layer: change_limit([change(*pair[layer]) for pair in pairs]) for layer in self.drawer.layers}

    def _drawn(self, camera: "Camera") -> "dict[str, tuple[Tensor, Tensor]]":
        one, two = (
            self.drawer.painted(self.drawer.drawn(each, camera)) for each in (self.before, self.after)
        )
        return {layer: (one[layer], two[layer]) for layer in one}

    def _pair(self, view: str, camera: "Camera") -> "dict[str, tuple[Tensor, Tensor]]":
        """Both pictures of every layer, counted."""
        pairs = self._drawn(camera)
        for layer, pair in pairs.items():
            self.tallies[layer].add(view, *pair)
        return pairs

    def _panels(self, one: "Tensor", two: "Tensor", limit: float, place: float) -> "dict[str, Tensor]":
        from featurefields.visualization.comparison import change, change_colours, wipe

        made = {
            "before": lambda: one,
            "after": lambda: two,
            "difference": lambda: change_colours(change(one, two), limit),
            "wipe": lambda: wipe(one, two, place),
        }
        titles = {"difference": f"difference 0..{limit:.2g}", "wipe": "before | after"}
        return {titles.get(panel, panel): made[panel]() for panel in self.panels}

    def _row(self, one: "Tensor", two: "Tensor", limit: float, place: float = 0.5) -> "Tensor":
        from featurefields.visualization.sheets import strip

        shown = self._panels(one, two, limit, place)
        return strip(list(shown.values()), list(shown))


def _fields(
    sources: tuple[Path, Path], options: FlightOptions, as_video: bool
) -> "tuple[FeatureField, FeatureField, Flight]":
    """Both fields in one frame, and the cameras."""
    before, after = (load_field(source) for source in sources)
    led = not before.about.cameras and bool(after.about.cameras) and options.scene is None
    leader, other = (after, before) if led else (before, after)
    leader, flight = flight_of(options, leader, sources[int(led)], video=as_video)
    other = in_frame_of(other, leader)
    return (other, leader, flight) if led else (leader, other, flight)


def in_frame_of(field: "FeatureField", other: "FeatureField") -> "FeatureField":
    """`field` moved so that both lie in the frame of `other`; as it is when they do."""
    one, two = field.about.world_from_capture, other.about.world_from_capture
    same = one.scale == two.scale and (one.rotation.cpu() == two.rotation.cpu()).all()
    if same and (one.translation.cpu() == two.translation.cpu()).all():
        return field
    return field.moved(one.inverse).moved(two)


def _check_features(before: "FeatureField", after: "FeatureField", layers: tuple[str, ...]) -> None:
    """Features of two fields have common colours only when their numbers mean the same."""
    import torch

    heads = {head_of(layer, before.heads) for layer in layers} - {"", "rgb"}
    one, two = before.about.feature_basis, after.about.feature_basis
    alike = (one is None) == (two is None) and before.about.extractor == after.about.extractor
    if one is not None and two is not None:
        alike = alike and one.shape == two.shape and torch.equal(one.cpu(), two.cpu())
    if heads and not alike:
        raise PromptError(
            f"the layers of {', '.join(sorted(heads))} cannot be compared: the two fields' features come from "
            "different extractors or compressions; leave those --layers out"
        )


def _decibel(squares: float) -> float | None:
    """PSNR of a mean squared difference; None when there is none."""
    return -10 * math.log10(squares) if squares > 0 else None
