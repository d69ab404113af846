"""A splat that the user already has: found in the frame of its photos, given features, written back row by row."""

from pathlib import Path
from typing import TYPE_CHECKING

from featurefields.errors import PromptError

from .console import Console
from .features import FeatureOptions, find_extractor, lift_features
from .fit import suitable_downscale
from .inputs import existing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from featurefields.field import FeatureField
    from featurefields.fitting.align import Alignment
    from featurefields.maths.similarity import Similarity
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene


def field_of_splat(
    path: Path,
    data: Path,
    *,
    rasterizer: "Rasterizer",
    console: Console,
    lifting: FeatureOptions,
    device: "torch.device | str" = "cpu",
    transform: Path | None = None,
    kind: str = "auto",
    downscale: float | None = None,
    seed: int = 0,
) -> "FeatureField":
    """The splat with cameras and features, in the world of its photos, on the CPU; nothing is trained.

    Every photo is used, but for those that the photos' source holds out. Notes of the result, for `rows_like`:
    `splat` (the file), `splat_id` (fingerprint of its Gaussians as they are there), `splat_from_capture`; and
    `splat_frame`, `splat_agreement`.

    Args:
        path: any 3DGS .ply.
        data: folder of posed photos that show what it shows.
        lifting: which features, and how they are lifted.
        transform: JSON file that says where the splat is (`featurefields.fitting.frames.frames_of_file`).
        kind: format of the photos' folder.
        downscale: factor by which photos are reduced; what the device does in minutes when not given.

    Raises:
        FileFormatError: `path` is no splat PLY.
        SceneError: the photos cannot be read, or the splat fits them in no frame that is known.
        FittingError, UnknownNameError, UnavailableError: as for `ff fit`; no features are asked for.
    """
    from featurefields.files.ply import read_ply
    from featurefields.readers import read_scene

    existing(path)
    existing(data)
    extractor = find_extractor(lifting.features, device, console)
    if extractor is None:
        raise PromptError("prompts need features; ask for others than --features none")
    splat = read_ply(path)
    if left_out := splat.about.notes.get("left_out"):
        console.note(f"{left_out} splats of {path} are not finite and were left out")
    whole = read_scene(data, kind=kind, points=False, holdout=0)
    factor = downscale or suitable_downscale(whole, str(device).partition(":")[0])
    scene = whole if factor == 1 else read_scene(data, kind=kind, points=False, holdout=0, downscale=factor)
    if downscale is None and factor != 1:
        console.note(f"photos are reduced by {factor:.2f} (--downscale 1 keeps them whole)")
    lifting.check(scene)
    splat = splat.to(device)
    alignment = aligned(splat, path, scene, transform, rasterizer, console)
    notes = {"downscale": factor, "kind": kind, "splat": str(path.resolve())}
    field = _placed(splat, scene, alignment, notes)
    return lift_features(field, scene, extractor, rasterizer, console, lifting, seed=seed).to("cpu")


def aligned(
    splat: "FeatureField",
    path: Path,
    scene: "Scene",
    transform: Path | None,
    rasterizer: "Rasterizer",
    console: Console,
) -> "Alignment":
    """The frame in which the splat fits the photos: of `transform`, or else of all that are known.

    Raises:
        SceneError: in none.
    """
    from featurefields.fitting.align import AlignConfig, align, witnesses_of
    from featurefields.fitting.frames import frames_of_file, known_frames

    frames = known_frames(scene, path) if transform is None else frames_of_file(transform, scene)
    config = AlignConfig()
    with console.progress("comparing the splat with photos", min(config.views, len(scene.views))) as advance:
        witnesses = witnesses_of(scene, config, on_photo=lambda: advance(1))
        found = align(
            splat, scene, frames, witnesses, rasterizer=rasterizer, turned=transform is None, config=config
        )
    console.note(f"the splat is in {found.frame.name}: {found.agreement}")
    return found


def _placed(
    splat: "FeatureField", scene: "Scene", alignment: "Alignment", notes: dict[str, object]
) -> "FeatureField":
    """The splat in the scene's world, with cameras, normals and where it comes from."""
    from dataclasses import replace

    from featurefields.field import About
    from featurefields.fitting.normals import with_normals

    splat_from_capture = alignment.frame.splat_from_capture
    field = splat.moved(scene.world_from_capture.after(splat_from_capture.inverse))
    notes = {
        **splat.about.notes,
        **notes,
        "splat_id": splat.fingerprint(),
        "splat_from_capture": _numbers(splat_from_capture),
        "splat_frame": alignment.frame.name,
        "splat_agreement": round(alignment.agreement.own, 4),
        "test_views": [view.name for view in scene.split("test")],
    }
    about = About(
        scene=scene.name,
        data=str(scene.folder.resolve()),
        world_from_capture=scene.world_from_capture,
        cameras=dict(scene.cameras()),
        notes=notes,
    )
    return replace(with_normals(field, list(about.cameras.values())), about=about)


def _numbers(similarity: "Similarity") -> dict[str, object]:
    return {
        "scale": similarity.scale,
        "rotation": similarity.rotation.tolist(),
        "translation": similarity.translation.tolist(),
    }


def splat_file(field: "FeatureField") -> Path | None:
    """The .ply that the field's Gaussians come from, where it is still the same; None otherwise."""
    from featurefields.errors import FileFormatError
    from featurefields.files.ply import read_ply

    path = field.about.notes.get("splat")
    if not isinstance(path, str) or not Path(path).is_file():
        return None
    try:
        same = read_ply(path).fingerprint() == field.about.notes.get("splat_id")
    except FileFormatError:
        return None
    return Path(path) if same else None


def write_parts(
    source: Path, parts: "dict[str, Tensor]", folder: Path, console: Console, *, overwrite: bool
) -> list[Path]:
    """NAME.ply in `folder` for every part that is not empty: the rows of the splat file as they are.

    `source` is what `splat_file` gives; parts are masks (n) over the field's Gaussians.

    Raises:
        FileFormatError, WriteError: see `featurefields.files.rows.write_rows`.
    """
    from featurefields.files.ply import usable_rows
    from featurefields.files.rows import write_rows

    usable, paths = usable_rows(source), []
    chosen = {name: mask for name, mask in parts.items() if bool(mask.any())}
    with console.progress(f"copying splats of {source.name}", len(chosen)) as advance:
        for name, mask in chosen.items():
            rows = usable.clone()
            rows[usable] = mask.cpu()
            paths.append(write_rows(source, rows, folder / f"{name}.ply", overwrite=overwrite))
            advance(1)
    return paths
