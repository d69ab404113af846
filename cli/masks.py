"""`ff masks`: selections back to the photos, as PNG files and COCO JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .console import Console, Summary
from .inputs import existing, load_field
from .labels import named_selections
from .options import ComputeOptions, Names, OptionalPath, Output, ReportOptions, WriteOptions
from .photos import scene_of
from .viewpoints import chosen_views, held_out, in_scene, view_name

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Picture, Scene

COCO_FILE = "masks.json"
NAMES_FILE = "names.json"
EVERY_VIEW, HELD_OUT = "all", "held-out"


@dataclass(frozen=True, kw_only=True)
class MasksOptions:
    """Draw what selections chose as masks of the photos: splats as an annotation tool.

    One selection gives a black and white <view>.png for every view; several, or a labelled .ply, give pictures of
    numbers (0 is nothing) and their names in names.json. COCO JSON holds every mask by itself, run-length encoded.
    """

    field: tyro.conf.Positional[Path]
    """A folder that `ff fit` wrote, a .safetensors archive, or a 3DGS .ply, which may be labelled."""
    output: Output
    """Folder for the masks."""
    selection: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...", help_behavior_hint="")] = ()
    """Selections to draw, each a .safetensors file of `ff segment`; without any, the labels of a labelled .ply."""
    views: Names = (EVERY_VIEW,)
    """Names of views (full name, file name, or file name without ending), or all, or held-out."""
    refine: bool = False
    """Move the masks' borders to the edges that the photos show near them."""
    format: Literal["png", "coco", "both"] = "both"
    """What to write."""
    data: OptionalPath = None
    """Folder of the photos, when it is not where the field was fitted; a .ply always needs it."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


@dataclass(frozen=True)
class MaskJob:
    """Everything that is drawn: which Gaussians, by which cameras, over which photos."""

    field: "FeatureField"
    names: tuple[str, ...]
    masks: "Tensor"
    cameras: "dict[str, Camera]"
    pictures: "dict[str, Picture]"
    rasterizer: "Rasterizer"

    def draw(self, view: str, *, refined: bool) -> "tuple[Tensor, Tensor]":
        """Masks (h w s) and shares of a view, in the pixels of its photo file where there is one."""
        import torch

        from featurefields.segmentation.boundary import refine
        from featurefields.segmentation.masks import in_photo, mask_shares

        camera, picture = self.cameras[view].to(self.field.splats.means), self.pictures.get(view)
        with torch.no_grad():
            shares = mask_shares(self.field, self.masks, camera, rasterizer=self.rasterizer).cpu()
        masks = shares > 0.5
        if refined and picture is not None:
            photo = picture.image()
            masks = torch.stack([refine(share, photo) for share in shares.unbind(-1)], dim=-1)
        if picture is None:
            return masks, shares
        bent = in_photo(torch.cat([shares, masks.to(shares)], dim=-1), picture)
        shares, smooth = bent.split(len(self.names), dim=-1)
        return (smooth if refined else shares) > 0.5, shares


def run(options: MasksOptions, console: Console) -> Summary:
    """Draw, refine, write; nothing is drawn when one of the files exists and may not be replaced."""
    from featurefields.atomic import refuse_existing

    rasterizer = options.compute.rasterizer()
    job, scene, held = _job(options, rasterizer, console)
    if options.refine and scene is None:
        raise PromptError(
            "--refine needs the photos, which are not where they were; say where with --data FOLDER"
        )
    views = _wanted(options.views, list(job.cameras), held)
    titles = dict(zip(views, chosen_views(job.cameras, views, ()), strict=True))
    pngs = {view: options.output / f"{title}.png" for view, title in titles.items()}
    png, coco = options.format != "coco", options.format != "png"
    planned = [*(pngs.values() if png else ()), *([options.output / COCO_FILE] if coco else ())]
    planned += [options.output / NAMES_FILE] if png and len(job.names) > 1 else []
    for path in planned:
        refuse_existing(path, options.write.overwrite)
    if scene is None:
        console.note("the photos are not at hand: masks have the pixels of the drawn views")
    drawn = _drawn(job, views, options.refine, console)
    counts = _write(job, drawn, pngs if png else {}, options.output / COCO_FILE if coco else None, options)
    rows = {
        "objects": len(job.names),
        "views": len(views),
        "masks": sum(counts.values()),
        "views that show it": dict(zip(job.names, counts.values(), strict=True))
        if len(counts) < 20
        else None,
        "refined": options.refine,
        "pixels of": "the photos" if scene is not None else "the drawn views",
    }
    if png and len(job.names) > 1:
        _write_names(job.names, options)
    return Summary(f"drew masks of {options.field}", rows, planned)


def _job(
    options: MasksOptions, rasterizer: "Rasterizer", console: Console
) -> "tuple[MaskJob, Scene | None, list[str]]":
    """What is drawn, the photos if they are at hand, and the names of held-out views."""
    import torch

    field, named = _chosen(options)
    cameras, held = dict(field.about.cameras), held_out(field)
    if cameras:
        scene = scene_of(field, options.data, console)
    elif options.data is not None:
        from featurefields.readers import read_scene

        field, cameras, held, _ = in_scene(field, options.data)
        scene = read_scene(options.data, points=False)
    else:
        raise PromptError(
            f"{options.field} remembers no views to draw; say where the photos are with --data FOLDER"
        )
    pictures = {view.name: view.picture for view in scene.views} if scene is not None else {}
    held = held or ([view.name for view in scene.split("test")] if scene is not None else [])
    device = options.compute.torch_device()
    masks = torch.stack(list(named.values()), dim=-1).to(device)
    job = MaskJob(field.to(device), tuple(named), masks, cameras, pictures, rasterizer)
    return job, scene, held


def _chosen(options: MasksOptions) -> "tuple[FeatureField, dict[str, Tensor]]":
    """The field, and who belongs to what by name."""
    if options.selection:
        field = load_field(options.field)
        chosen = named_selections(options.selection, field)
        return field, {name: selection.mask for name, selection in chosen.items()}
    if options.field.suffix.lower() != ".ply":
        raise PromptError("nothing was selected; give selections of `ff segment` with --selection FILE")
    from featurefields.files.labels import read_labels

    field, labels = read_labels(existing(options.field))
    if not labels.present():
        raise PromptError(
            f"{options.field} labels no splats: all are 0; label some, or pass --selection FILE"
        )
    return field, {name: labels.ids == number for number, name in labels.names().items()}


def _wanted(asked: tuple[str, ...], names: list[str], held: list[str]) -> list[str]:
    """Full names of the views, each once, in the order asked for."""
    found: list[str] = []
    for name in asked:
        if name == EVERY_VIEW and name not in names:
            found += names
        elif name == HELD_OUT and name not in names:
            if not held:
                raise PromptError(
                    "--views held-out asked for views that were not fitted, but none are known; name some"
                )
            found += [entry for entry in held if entry in names]
        else:
            found.append(view_name(name, names))
    return list(dict.fromkeys(found))


def _drawn(
    job: MaskJob, views: list[str], refined: bool, console: Console
) -> "Iterator[tuple[str, Tensor, Tensor]]":
    """View by view: its name, masks and shares."""
    with console.progress("drawing masks", len(views)) as advance:
        for view in views:
            yield (view, *job.draw(view, refined=refined))
            advance(1)


def _write(
    job: MaskJob,
    drawn: "Iterator[tuple[str, Tensor, Tensor]]",
    pngs: dict[str, Path],
    coco: Path | None,
    options: MasksOptions,
) -> dict[str, int]:
    """Write the pictures as they come and the document at the end; in how many views every object is."""
    from featurefields.files.coco import CocoMask, write_coco
    from featurefields.images import write_png
    from featurefields.segmentation.masks import label_picture

    counts = dict.fromkeys(job.names, 0)
    pictures, found = [], []
    for view, masks, shares in drawn:
        if view in pngs:
            image = masks[..., 0] if len(job.names) == 1 else label_picture(masks, shares)
            write_png(pngs[view], image, overwrite=options.write.overwrite)
        for index, name in enumerate(job.names):
            counts[name] += int(masks[..., index].any())
            if coco is not None:
                found.append(CocoMask.of(len(pictures), index, masks[..., index]))
        pictures.append((view, (masks.shape[1], masks.shape[0])))
    if coco is not None:
        write_coco(
            coco, pictures, job.names, found,
            description=f"masks of {options.field.name} by featurefields", overwrite=options.write.overwrite,
        )  # fmt: skip
    return counts


def _write_names(names: tuple[str, ...], options: MasksOptions) -> None:
    """Which number means which object."""
    import json

    from featurefields.atomic import write_bytes

    content = {"0": "nothing", **{str(number): name for number, name in enumerate(names, start=1)}}
    text = json.dumps(content, indent=1) + "\n"
    write_bytes(options.output / NAMES_FILE, text.encode(), overwrite=options.write.overwrite)
