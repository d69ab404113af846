"""`ff edit`: changes of what is selected."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from featurefields.errors import PromptError

from .baking import baked
from .console import Console, Summary
from .inputs import FIELD_FILE, load_field, load_selection
from .options import ComputeOptions, OptionalPath, Output, ReportOptions, WriteOptions
from .viewpoints import held_out

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.editing.edits import Edit
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer

Colour = Annotated[str | None, tyro.conf.arg(metavar="R,G,B", help_behavior_hint="")]
Fraction = Annotated[float | None, tyro.conf.arg(metavar="0..1", help_behavior_hint="")]
STRIP_VIEWS = 3


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Change what a selection shows, or take it out; the input is not touched.

    Several edits are made in the order of this list. The output is a folder with the edited field, the same as an
    ordinary .ply and a before/after picture; or just a .ply when its name ends so.
    """

    field: tyro.conf.Positional[Path]
    """A folder that `ff fit` wrote, a .safetensors archive, or any 3DGS .ply."""
    output: Output
    """Folder for the results, or a .ply to write."""
    selection: OptionalPath = None
    """What to change: a selection file of `ff segment`; everything when not given."""
    remove_specular: bool = False
    """Take the reflections away."""
    recolor: Colour = None
    """Give matter this mean colour (0..255 each); shading and texture stay."""
    roughness: Fraction = None
    """Set the perceptual roughness of reflections, 0 (mirror) to 1 (matte)."""
    delete: bool = False
    """Take the selection out."""
    keep: bool = False
    """Take everything else out."""
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: EditOptions, console: Console) -> Summary:
    """Apply the edits and write."""
    import torch

    from featurefields.atomic import refuse_existing

    edits = edits_of(options)
    only_ply = options.output.suffix.lower() == ".ply"
    names = (FIELD_FILE, "edited.ply", "before_after.png")
    for path in [options.output] if only_ply else [options.output / name for name in names]:
        refuse_existing(path, options.write.overwrite)
    rasterizer = options.compute.rasterizer()
    field = load_field(options.field)
    mask = torch.ones(len(field), dtype=torch.bool)
    if options.selection is not None:
        mask = load_selection(options.selection, field).mask
    elif options.delete or options.keep:
        raise PromptError("--delete and --keep need to know what; pass --selection FILE of `ff segment`")
    edited = apply_all(field, edits, mask)
    paths = write_edited(
        field, edited, mask, options.output, rasterizer, console, overwrite=options.write.overwrite
    )
    rows = {
        "edits": [type(edit).__name__ for edit in edits],
        "splats changed": int(mask.sum()),
        "splats": len(edited),
        "before": len(field),
    }
    return Summary(f"edited {options.field}", rows, paths, [f"ff info {paths[0]}"])


def edits_of(options: EditOptions) -> "list[Edit]":
    """The edits the options ask for.

    Raises:
        PromptError: none, a malformed colour, or both --delete and --keep.
    """
    from featurefields.editing import edits as kinds

    edits: list[Edit] = []
    if options.remove_specular:
        edits.append(kinds.RemoveSpecular())
    if options.recolor is not None:
        edits.append(kinds.Recolor(parse_colour(options.recolor)))
    if options.roughness is not None:
        edits.append(kinds.SetRoughness(options.roughness))
    if options.delete and options.keep:
        raise PromptError("--delete and --keep together would leave nothing; choose one")
    if options.delete:
        edits.append(kinds.Delete())
    if options.keep:
        edits.append(kinds.Keep())
    if not edits:
        raise PromptError(
            "no edit was asked for; pass --remove-specular, --recolor R,G,B, --roughness F, --delete or --keep"
        )
    return edits


def parse_colour(text: str) -> tuple[float, float, float]:
    """Fractions 0..1 of "R,G,B" with whole numbers 0..255. Raises `PromptError` otherwise."""
    try:
        red, green, blue = (int(part) for part in text.split(","))
    except ValueError as error:
        raise PromptError(f"a colour is three whole numbers R,G,B from 0 to 255, got '{text}'") from error
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise PromptError(f"a colour is three whole numbers R,G,B from 0 to 255, got '{text}'")
    return red / 255, green / 255, blue / 255


def apply_all(field: "FeatureField", edits: "list[Edit]", mask: "Tensor") -> "FeatureField":
    """The field after all edits of the masked Gaussians, with a note of them."""
    from dataclasses import asdict, replace

    from featurefields.editing.edits import apply

    edited = field
    for edit in edits:
        edited = apply(edit, edited, mask)
    record = [{"edit": type(edit).__name__, **asdict(edit), "splats": int(mask.sum())} for edit in edits]
    before = field.about.notes.get("edits", [])
    notes = {**field.about.notes, "edits": [*(before if isinstance(before, list) else []), *record]}
    return replace(edited, about=replace(edited.about, notes=notes))


def write_edited(
    before: "FeatureField",
    edited: "FeatureField",
    mask: "Tensor",
    output: Path,
    rasterizer: "Rasterizer",
    console: Console,
    *,
    overwrite: bool,
) -> list[Path]:
    """The edited field as archive, PLY and before/after strip; only the PLY when `output` is one."""
    from featurefields.files.archive import write_archive
    from featurefields.files.ply import write_ply

    only_ply = output.suffix.lower() == ".ply"
    ordinary = baked(edited, console)
    if only_ply:
        return [write_ply(ordinary, output, overwrite=overwrite)]
    paths = [
        write_archive(edited, output / FIELD_FILE, overwrite=overwrite),
        write_ply(ordinary, output / "edited.ply", overwrite=overwrite),
    ]
    if before.about.cameras:
        paths.append(
            write_strip(before, edited, mask, output / "before_after.png", rasterizer, overwrite=overwrite)
        )
    return paths


def write_strip(
    before: "FeatureField",
    edited: "FeatureField",
    mask: "Tensor",
    path: Path,
    rasterizer: "Rasterizer",
    *,
    overwrite: bool,
) -> Path:
    """Before and after, side by side, in the views that show most of what was changed."""
    import torch

    from featurefields.field import render
    from featurefields.images import write_png
    from featurefields.segmentation.masks import mask_share
    from featurefields.visualization.sheets import strip

    cameras = before.about.cameras
    names = held_out(before) or list(cameras)[:24]
    with torch.no_grad():
        shown = {
            name: float(mask_share(before, mask, cameras[name], rasterizer=rasterizer).mean())
            for name in names
        }
        best = sorted(shown, key=lambda name: -shown[name])[:STRIP_VIEWS]
        pictures = [
            render(field, cameras[name], rasterizer=rasterizer, heads=("rgb",))["rgb"]["total"].clamp(0, 1)
            for name in best
            for field in (before, edited)
        ]
    labels = [f"{Path(name).stem} {state}" for name in best for state in ("before", "after")]
    write_png(path, strip(pictures, labels, columns=2), overwrite=overwrite)
    return path
