"""What edits are written as: the archive, an ordinary PLY, a before/after strip, masks of holes."""

from pathlib import Path
from typing import TYPE_CHECKING

from .baking import baked
from .console import Console
from .inputs import FIELD_FILE
from .photos import scene_of
from .viewpoints import chosen_views, held_out

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.editing.edits import Edit
    from featurefields.editing.history import Edited
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Picture

PLY_FILE, STRIP_FILE = "edited.ply", "before_after.png"
HOLES, REVEALED = "holes", "revealed"
STRIP_VIEWS = 3


def apply_all(field: "FeatureField", edits: "list[Edit]", mask: "Tensor") -> "FeatureField":
    """The field after all edits of the masked Gaussians, with a note of them."""
    from featurefields.editing.history import Edited, Step

    edited = Edited.start(field)
    who = edited.who(mask)
    for edit in edits:
        edited = edited.after(Step(edit, who))
    return edited.field


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
    """The edited field as archive, PLY and before/after strip; only the PLY when `output` is one.

    The strip shows the views where most of the masked Gaussians of `before` is seen. Hidden Gaussians are not in the
    PLY, which has no way to bring them back.
    """
    from featurefields.editing.presence import hidden_rows
    from featurefields.files.archive import write_archive
    from featurefields.files.ply import write_ply

    only_ply = output.suffix.lower() == ".ply"
    shown = edited.with_splats(edited.splats.select(~hidden_rows(edited.splats)))
    ordinary = baked(shown, console)
    if only_ply:
        return [write_ply(ordinary, output, overwrite=overwrite)]
    paths = [
        write_archive(edited, output / FIELD_FILE, overwrite=overwrite),
        write_ply(ordinary, output / PLY_FILE, overwrite=overwrite),
    ]
    if before.about.cameras:
        paths.append(write_strip(before, edited, mask, output / STRIP_FILE, rasterizer, overwrite=overwrite))
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


def write_holes(
    base: "FeatureField",
    edited: "Edited",
    output: Path,
    rasterizer: "Rasterizer",
    console: Console,
    *,
    data: Path | None,
    overwrite: bool,
) -> list[Path]:
    """Masks in the photos' pixels of where something is missing, and where something else shows; their two folders.

    Only views that showed what is gone have a mask. Without the photos at hand masks have the drawn views' pixels.
    """
    from featurefields.editing.holes import Holes
    from featurefields.images import write_png

    scene = scene_of(base, data, console)
    pictures = {view.name: view.picture for view in scene.views} if scene is not None else {}
    cameras = base.about.cameras
    written: list[Path] = []
    with console.progress("looking for holes", len(cameras)) as advance:
        holes = Holes.between(base, edited, cameras.values(), rasterizer)
        for title, (name, camera) in zip(chosen_views(cameras, (), ()), cameras.items(), strict=True):
            hole = holes.seen_by(camera, rasterizer)
            advance(1)
            for folder, mask in ((HOLES, hole.missing), (REVEALED, hole.revealed)):
                path = output / folder / f"{title}.png"
                if not bool(hole.touched.any()):
                    if overwrite:
                        path.unlink(missing_ok=True)
                    continue
                write_png(path, _in_photo(mask.cpu(), pictures.get(name)), overwrite=overwrite)
                written.append(path)
    return [output / folder for folder in (HOLES, REVEALED)] if written else []


def _in_photo(mask: "Tensor", picture: "Picture | None") -> "Tensor":
    from featurefields.segmentation.masks import in_photo

    return mask if picture is None else in_photo(mask[..., None].float(), picture)[..., 0] > 0.5
