"""`ff edit --splat`: highlights out of an ordinary .ply, which stays as it is otherwise, byte by byte."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import FileFormatError, PromptError

from .console import Console, Summary
from .edit_flags import EditFlags
from .existing import aligned
from .inputs import FIELD_FILE, existing, load_field

if TYPE_CHECKING:
    from torch import Tensor

    from featurefields.camera import Camera
    from featurefields.editing.sightings import Sightings
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.selection import Selection

    from .edit import EditOptions

CLOSE = 1e-3
"""Places that fit within this share of the splat's extent after turning, moving and scaling are the same."""
COMPARED = 20_000


def run_splat(options: "EditOptions", console: Console) -> Summary:
    """Read, find the selection and the directions, write the .ply.

    Raises:
        PromptError: something else than --remove-specular was asked for, no .ply is to be written, or the selection is
            of other Gaussians.
        FeatureFieldsError: what reading the splat, the selection and the photos raises.
    """
    from featurefields.editing.ordinary import HighlightConfig, without_highlights
    from featurefields.files.ply import read_ply, usable_rows

    source, output = _refuse(options)
    strength = 1.0 if options.edits.look.strength is None else options.edits.look.strength
    config = HighlightConfig(strength=strength)
    rasterizer = options.compute.rasterizer()
    splat = read_ply(source)
    mask = _selected(options, splat)
    seen, told = _sightings(options, splat, mask, rasterizer, console)
    old = splat.splats.columns["harmonics"][mask]
    with console.progress(f"taking highlights from {int(mask.sum()):,} splats"):
        new = without_highlights(splat.splats, mask, seen, config)
    changed = (new != old).flatten(1).any(-1)
    rows = usable_rows(source)
    inside = mask.clone()
    inside[mask] = changed
    rows[rows.clone()] = inside
    _write(source, output, rows, new[changed], overwrite=options.write.overwrite)
    facts = {
        "edits": ["RemoveSpecular"],
        "strength": strength,
        "splats changed": int(changed.sum()),
        "selected": int(mask.sum()),
        "splats": len(splat),
        "directions": told,
        "sh degree": splat.heads["rgb"].config()["degree"],
    }
    if not facts["sh degree"]:
        console.note(
            f"{source} looks alike from everywhere (harmonics of degree 0): it has no highlights to take"
        )
    return Summary(f"edited {source}", facts, [output], [f"ff info {output}"])


def _refuse(options: "EditOptions") -> tuple[Path, Path]:
    """The .ply to read and the one to write; refuses what cannot work before anything is read."""
    from featurefields.atomic import refuse_existing

    assert options.splat is not None
    source, output = existing(options.splat), options.output
    if source.suffix.lower() != ".ply":
        raise PromptError(f"--splat {source} is no .ply; fields are edited as `ff edit FIELD`")
    if output is None or output.suffix.lower() != ".ply":
        raise PromptError(f"--splat writes a .ply as ordinary as {source}; name it with --output FILE.ply")
    look = options.edits.look
    if replace(options.edits, look=replace(look, remove_specular=False, strength=None)) != EditFlags():
        raise PromptError(
            f"--splat takes --remove-specular and --strength only; make other edits with `ff edit {source}`"
        )
    if not look.remove_specular:
        raise PromptError("no edit was asked for; pass --remove-specular with --splat")
    if options.script or options.session or options.undo or options.redo or options.holes:
        raise PromptError(
            "--script, --session, --undo, --redo and --holes go with fields, not with --splat; leave them out"
        )
    refuse_existing(output, options.write.overwrite)
    return source, output


def _selected(options: "EditOptions", splat: "FeatureField") -> "Tensor":
    """Which of the splat's Gaussians are selected; all without a selection.

    A selection is of the splat itself, of what `ff segment --splat` made of it, or of the field that it was exported
    from; these are looked for beside the selection, and at FIELD.
    """
    import torch

    from featurefields.files.selection import read_selection

    if options.selection is None:
        return torch.ones(len(splat), dtype=torch.bool)
    path = existing(Path(options.selection))
    selection = read_selection(path)
    if selection.field_id != splat.fingerprint():
        field = _field_of(selection, path, options.source)
        if field is None:
            raise PromptError(
                f"{path} was made on field {selection.field_id}, which is neither {options.splat} nor beside the "
                "selection; name that field before --splat (ff edit FIELD --splat …)"
            )
        if not same_places(field.splats.means, splat.splats.means):
            raise PromptError(
                f"{path} belongs to other splats: its field's {len(field)} are not the first of the {len(splat)} of "
                f"{options.splat}; select on this splat with `ff segment --splat`"
            )
    if not selection.count:
        raise PromptError(f"{path} chose no splats, so there is nothing to edit; select again")
    mask = torch.zeros(len(splat), dtype=torch.bool)
    mask[: len(selection.mask)] = selection.mask
    return mask


def _field_of(selection: "Selection", path: Path, given: Path | None) -> "FeatureField | None":
    """The field on which the selection was made, if it can be found."""
    folders = [path.resolve().parent, *path.resolve().parents[1:3]]
    places = [folder / FIELD_FILE for folder in folders if (folder / FIELD_FILE).is_file()]
    for place in [given, *places] if given is not None else places:
        try:
            field = load_field(place)
        except FileFormatError:
            if place is given:
                raise
            continue
        if field.fingerprint() == selection.field_id:
            return field
    return None


def same_places(a: "Tensor", b: "Tensor") -> bool:
    """Whether points `a` (n 3) are the first of `b` (m 3) in another frame."""
    import torch

    if len(a) > len(b):
        return False
    every = max(1, len(a) // COMPARED)
    pairs = (a[::every].double(), b[: len(a) : every].double())
    a, b = ((points - points.mean(0)) / (points.std() + 1e-12) for points in pairs)
    apart = (a @ torch.linalg.lstsq(a, b).solution - b).norm(dim=-1)
    size = b.norm(dim=-1)
    return bool((apart <= CLOSE * (size + size.median())).all())


def _sightings(
    options: "EditOptions",
    splat: "FeatureField",
    mask: "Tensor",
    rasterizer: "Rasterizer",
    console: Console,
) -> "tuple[Sightings, str]":
    """From where the selection is seen: the photos' cameras, or from above the surface; and what that is called."""
    from featurefields.editing.sightings import seen_by, seen_from_above

    if options.data is None:
        return seen_from_above(splat.splats, mask), "the hemisphere above each splat"
    cameras = _cameras(options, splat, rasterizer, console)
    device = options.compute.torch_device()
    with console.progress("looking from the photos", len(cameras)) as advance:
        seen = seen_by(
            splat.splats.to(device),
            mask.to(device),
            [camera.to(device) for camera in cameras],
            rasterizer=rasterizer,
            on_view=lambda: advance(1),
        )
    return seen.to("cpu"), f"{len(cameras)} photos"


def _cameras(
    options: "EditOptions", splat: "FeatureField", rasterizer: "Rasterizer", console: Console
) -> "list[Camera]":
    """The photos' cameras in the splat's frame."""
    from featurefields.readers import read_scene

    assert options.data is not None and options.splat is not None
    scene = read_scene(existing(options.data), points=False)
    device = options.compute.torch_device()
    found = aligned(splat.to(device), options.splat, scene, None, rasterizer, console)
    splat_from_world = found.frame.splat_from_capture.after(scene.world_from_capture.inverse)
    return [
        replace(view.camera, world_from_camera=splat_from_world.pose(view.camera.world_from_camera))
        for view in scene.views
    ]


def _write(source: Path, output: Path, rows: "Tensor", bands: "Tensor", *, overwrite: bool) -> None:
    """The file with other harmonics (m k 3) in the rows chosen."""
    from featurefields.files.ply import BASE_COLOUR
    from featurefields.files.values import write_values

    values = {name: bands[:, 0, channel] for channel, name in enumerate(BASE_COLOUR)}
    rest = bands[:, 1:].transpose(1, 2).flatten(1)
    values |= {f"f_rest_{index}": rest[:, index] for index in range(rest.shape[1])}
    write_values(source, rows, values, output, overwrite=overwrite)
