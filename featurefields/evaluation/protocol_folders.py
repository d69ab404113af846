"""The folders of public segmentation benchmarks: which label belongs to which photo of which scene.

docs/segmentation_benchmarks.md shows the layouts. Nothing is guessed: what is missing or fits several things is an
error that names it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from featurefields.errors import SceneError, UnknownNameError
from featurefields.scene import Scene, View

PICTURES = (".png", ".jpg", ".jpeg")
DOCUMENT = "docs/segmentation_benchmarks.md shows the layout"


@dataclass(frozen=True)
class ScribbleLabels:
    """An object of NVOS: strokes in one photo and a mask in another.

    Attributes:
        name: what the benchmark calls it ("horns_center").
        photos: folder of the scene's posed photos.
        reference: name of the photo with strokes, without ending.
        positive: files of strokes on the object, of the size of the photo.
        negative: files of strokes on everything else.
        target: name of the photo whose mask is known, without ending.
        mask: that mask.
    """

    name: str
    photos: Path
    reference: str
    positive: tuple[Path, ...]
    negative: tuple[Path, ...]
    target: str
    mask: Path


@dataclass(frozen=True)
class MaskLabels:
    """An object of SPIn-NeRF: its mask in many photos, by the name of the mask's file, without ending.

    The first in the order of names is given, the others are judged.
    """

    name: str
    photos: Path
    masks: dict[str, Path]


def read_nvos(folder: Path) -> tuple[ScribbleLabels, ...]:
    """The objects in labels/llff (or labels) of a folder; every one needs strokes, a reference photo and a mask.

    Raises:
        SceneError: something is missing, or there is more than one of it.
    """
    labels = _first_folder([folder / "labels" / "llff", folder / "labels"], "masks", folder, "NVOS")
    found = []
    for masks in subfolders(labels / "masks"):
        name = masks.name
        strokes = _pictures(labels / "scribbles" / name, f"strokes of NVOS object '{name}'")
        signed = {
            sign: tuple(path for path in strokes if path.stem.startswith(f"{sign}_"))
            for sign in ("pos", "neg")
        }
        for sign, paths in signed.items():
            if not paths:
                raise SceneError(
                    f"NVOS object '{name}' has no {sign}_* picture in {labels / 'scribbles' / name}; {DOCUMENT}"
                )
        given = _single(
            _pictures(labels / "reference_image" / name, f"reference photo of NVOS object '{name}'"),
            f"reference photo of NVOS object '{name}'",
        )
        mask = _single(
            [path for path in _pictures(masks, f"mask of '{name}'") if path.stem.endswith("_mask")],
            f"*_mask picture in {masks}",
        )
        target = mask.stem.removesuffix("_mask")
        if target == given.stem:
            raise SceneError(
                f"NVOS object '{name}' has strokes and mask in the same photo {target}; {DOCUMENT}"
            )
        photos = photos_of(folder, name)
        found.append(ScribbleLabels(name, photos, given.stem, signed["pos"], signed["neg"], target, mask))
    return _some(found, labels / "masks", "NVOS")


def read_spin_nerf(folder: Path) -> tuple[MaskLabels, ...]:
    """The objects in labels of a folder: one folder of masks each, called as the scene, with "(source)" behind it.

    Pictures called *_cutout and *_pseudo, which the benchmark has beside the masks, are left out.

    Raises:
        SceneError: a folder has fewer than two masks, or no photos.
    """
    found = []
    for masks in subfolders(folder / "labels"):
        name = masks.name.partition(" (")[0]
        paths = {
            path.stem: path
            for path in _pictures(masks, f"masks of SPIn-NeRF scene '{name}'")
            if not path.stem.endswith(("_cutout", "_pseudo"))
        }
        if len(paths) < 2:
            raise SceneError(
                f"SPIn-NeRF scene '{name}' has {len(paths)} masks in {masks}; one is given and another is judged, so "
                "there must be two"
            )
        found.append(MaskLabels(name, photos_of(folder, name), paths))
    return _some(found, folder / "labels", "SPIn-NeRF")


def photos_of(folder: Path, name: str) -> Path:
    """The folder of the photos of a scene: scenes/NAME or NAME, also with "_undistort" behind it.

    An object such as "horns_center" lies in the scene "horns" where there is none of its own name. Capital letters do
    not count.

    Raises:
        SceneError: there is none.
    """
    known = {path.name.lower(): path for place in (folder / "scenes", folder) for path in _listed(place)}
    wanted = [name, name.rpartition("_")[0]]
    for entry in (entry.lower() for entry in wanted if entry):
        for candidate in (entry, f"{entry}_undistort"):
            if candidate in known:
                return known[candidate]
    raise SceneError(
        f"there are no photos of '{name}' in {folder}: looked for scenes/{name} and {name}; put the posed photos of "
        f"the scene there ({DOCUMENT})"
    )


def labelled_view(scene: Scene, stem: str) -> View:
    """The view that a label called `stem` belongs to.

    That is the photo of this name; else, as SPIn-NeRF's labels need it, for "imageNNN" the NNN-th photo in the order
    of names (missing ones are counted), and for "0_NAME" and "1_NAME" the photo NAME.

    Raises:
        SceneError: there is none, or there are several.
    """
    numbered, prefixed = re.fullmatch(r"image(\d+)", stem), re.fullmatch(r"[01]_(.+)", stem)
    try:
        return scene.view(stem)
    except UnknownNameError as error:
        names = sorted([*scene.cameras(), *scene.missing])
        if numbered and int(numbered[1]) < len(names) and names[int(numbered[1])] in scene.cameras():
            return scene.view(names[int(numbered[1])])
        if prefixed and any(Path(name).stem == prefixed[1] for name in names):
            return scene.view(prefixed[1])
        raise SceneError(
            f"the label '{stem}' belongs to no photo of {scene.folder} ({error}); photos must keep the names that the "
            "benchmark gives them"
        ) from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder by name, but those that begin with a dot or an underscore.

    Raises:
        SceneError: it is no folder.
    """
    if not folder.is_dir():
        raise SceneError(f"there is no folder {folder}; {DOCUMENT}")
    return _listed(folder)


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def _pictures(folder: Path, what: str) -> list[Path]:
    if not folder.is_dir():
        raise SceneError(f"there is no folder {folder} with the {what}; {DOCUMENT}")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _single(paths: Iterable[Path], what: str) -> Path:
    found = list(paths)
    if len(found) != 1:
        shown = ", ".join(path.name for path in found[:4]) or "none"
        raise SceneError(f"there must be exactly one {what}, found {shown}; {DOCUMENT}")
    return found[0]


def _first_folder(places: Sequence[Path], inside: str, folder: Path, benchmark: str) -> Path:
    for place in places:
        if (place / inside).is_dir():
            return place
    raise SceneError(
        f"{folder} holds no {benchmark} labels: there is no folder {places[0] / inside}; {DOCUMENT}"
    )


def _some(found: list, folder: Path, benchmark: str) -> tuple:
    if not found:
        raise SceneError(f"{folder} holds no scene of {benchmark}; {DOCUMENT}")
    return tuple(found)
