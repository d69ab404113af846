"""ADE20K scene parsing (Zhou et al. 2017), the release of the 2016 challenge.

images/training/ADE_train_00000001.jpg · annotations/training/ADE_train_00000001.png (0 other, 1 … 150)
images/validation · annotations/validation · objectInfo150.txt (names; without it classes are numbered)
"""

from collections.abc import Sequence
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.images import read_size
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split, existing_folder
from featurefields.readers.probe_sets.pixels import fitted, image_of, labels_of
from featurefields.readers.probe_sets.registered import ProbeSource

CLASSES = 150
HALVES: tuple[tuple[Split, str], ...] = (("train", "training"), ("test", "validation"))


def read_ade20k(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Labels of 150 classes; every picture is a scene of its own. Raises `SceneError` when nothing is there."""
    folder = existing_folder(folders[0], "ade20k")
    samples, missing = [], 0
    for split, half in HALVES:
        for image in sorted((folder / "images" / half).glob("*.jpg"))[:: source.every]:
            labels = folder / "annotations" / half / f"{image.stem}.png"
            if not labels.is_file():
                missing += 1
                continue
            size = fitted(read_size(image), source.longest_side)
            name = f"{half}/{image.stem}"
            samples.append(
                ProbeSample(
                    name, name, split, size, image_of(image, size), labels=labels_of(labels, CLASSES, 1, size)
                )
            )
    if not samples:
        raise SceneError(
            f"{folder} has no pictures in images/training or images/validation with annotations beside"
        )
    notes = (f"{missing} pictures have no annotation; left out",) if missing else ()
    return ProbeSet("ADE20K", tuple(samples), _names(folder), notes=notes)


def _names(folder: Path) -> tuple[str, ...]:
    """The first name of every class, from the table with columns Idx, Ratio, Train, Val, Name; numbers without it."""
    names = [f"class {number}" for number in range(1, CLASSES + 1)]
    table = folder / "objectInfo150.txt"
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            columns = line.split("\t")
            if len(columns) >= 5 and columns[0].strip().isdigit() and 1 <= int(columns[0]) <= CLASSES:
                names[int(columns[0]) - 1] = columns[-1].split(",")[0].strip()
    return tuple(names)
