"""NYU Depth v2 (Silberman et al. 2012).

Two layouts: the lists of the depth benchmarks (nyu_train.txt, nyu_test.txt: picture, depth, optionally normals or a
focal length), or the pictures extracted from the labelled .mat file:

    image/train/00003.png · depth/train/00003.png (mm) · seg40 or seg13/train/00003.png (class - 1, 255 none) ·
    normal/train/00003.npy or .png; the same below test.

The split is the published one (795 and 654 labelled pictures of different scenes).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.images import read_size
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split, existing_folder
from featurefields.readers.probe_sets.lists import listed_pictures
from featurefields.readers.probe_sets.pixels import depth_of, fitted, image_of, labels_of, normal_of
from featurefields.readers.probe_sets.registered import ProbeSource

MILLIMETRE = 1e-3
RANGE_M = (1e-3, 10.0)
EIGEN_CROP = (41, 45, 601, 471)
"""(left, top, right, bottom) of the pixels of 640x480 in which depth is measured (Eigen et al. 2014)."""
FULL = (640, 480)
LISTS: tuple[tuple[Split, str], ...] = (("train", "nyu_train.txt"), ("test", "nyu_test.txt"))
CLASSES_13 = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "painting", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip
CLASSES_40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip


def read_nyuv2(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Depth, and normals and labels where they were extracted. Raises `SceneError` when nothing is there."""
    folder = existing_folder(folders[0], "nyuv2")
    listed = any((folder / name).is_file() for _, name in LISTS)
    labels = next((name for name in ("seg40", "seg13") if (folder / name).is_dir()), None)
    samples = tuple(_listed(folder, source) if listed else _extracted(folder, labels, source))[
        :: source.every
    ]
    if not samples:
        raise SceneError(
            f"{folder} has neither nyu_train.txt and nyu_test.txt nor image/train and image/test"
        )
    classes = () if listed or labels is None else CLASSES_40 if labels == "seg40" else CLASSES_13
    return ProbeSet("NYUv2", samples, classes, depth_range=RANGE_M)


def scaled_crop(
    crop: tuple[int, int, int, int], full: tuple[int, int], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A crop of pictures of size `full` for the same pictures at `size`."""
    x, y = size[0] / full[0], size[1] / full[1]
    return round(crop[0] * x), round(crop[1] * y), round(crop[2] * x), round(crop[3] * y)


def _listed(folder: Path, source: ProbeSource) -> Iterator[ProbeSample]:
    for entry in listed_pictures(folder, LISTS, [[""], [""], [""]]):
        depth = entry.others[0] if entry.others else None
        normal = entry.others[1] if len(entry.others) > 1 else None
        place = entry.name.rpartition("/")[0] or entry.name
        yield _sample(
            entry.name, f"{entry.split}/{place}", entry.split, source, entry.image, depth, normal, None, 0
        )


def _extracted(folder: Path, labels: str | None, source: ProbeSource) -> Iterator[ProbeSample]:
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        for image in sorted((folder / "image" / split).glob("*.png")):
            name = f"{split}/{image.stem}"
            normals = [folder / "normal" / split / f"{image.stem}{ending}" for ending in (".npy", ".png")]
            depth, label = folder / "depth" / split / image.name, folder / (labels or "") / split / image.name
            yield _sample(
                name, name, split, source, image, depth if depth.is_file() else None,
                next((path for path in normals if path.is_file()), None),
                label if labels and label.is_file() else None, 40 if labels == "seg40" else 13,
            )  # fmt: skip


def _sample(
    name: str,
    scene: str,
    split: Split,
    source: ProbeSource,
    image: Path,
    depth: Path | None,
    normal: Path | None,
    labels: Path | None,
    classes: int,
) -> ProbeSample:
    full = read_size(image)
    size = fitted(full, source.longest_side)
    return ProbeSample(
        name=name,
        scene=scene,
        split=split,
        size=size,
        image=image_of(image, size),
        depth=depth_of(depth, MILLIMETRE, size) if depth else None,
        normal=normal_of(normal, size) if normal else None,
        labels=labels_of(labels, classes, 0, size) if labels else None,
        crop=scaled_crop(EIGEN_CROP, FULL, size),
    )
