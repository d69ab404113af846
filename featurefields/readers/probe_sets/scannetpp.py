"""ScanNet++ (Yeshwanth et al. 2023): DSLR pictures with depth rendered from the scan.

    splits/nvs_sem_train.txt, splits/nvs_sem_val.txt: names of scenes
    data/SCENE: one scene with rendered depth, in any of the layouts of `featurefields.readers.scannetpp`
    data/SCENE/dslr/semantics/DSC00001.png      1 … 100 = lines of the class list, 0 none (optional)
    metadata/semantic_benchmark/top100.txt      names of the classes

Lens distortion is removed when pictures and depth are read. Label pictures must be of the undistorted camera.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.probe_sets.halves import held_out_scenes
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, existing_folder
from featurefields.readers.probe_sets.lists import names_in
from featurefields.readers.probe_sets.pixels import labels_of
from featurefields.readers.probe_sets.registered import ProbeSource
from featurefields.readers.probe_sets.scenes import read_views, sample_of_view
from featurefields.readers.scannetpp import is_scannetpp

RANGE_M = (1e-3, 10.0)


def read_scannetpp(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Pictures that have depth of all scenes on either side. Raises `SceneError` when nothing is there."""
    folder = existing_folder(folders[0], "scannetpp")
    train, test = (set(names_in(folder / "splits" / f"nvs_sem_{half}.txt")) for half in ("train", "val"))
    present = sorted(path.name for path in folder.glob("data/*") if is_scannetpp(path))
    if source.held_out:
        test = set(held_out_scenes(present, source.held_out))
        train = set(present) - test
    names = folder / "metadata" / "semantic_benchmark" / "top100.txt"
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    classes = tuple(line.strip() for line in lines if line.strip())
    samples = [
        replace(sample, split="test" if scene in test else "train")
        for scene in present
        if scene in train | test
        for sample in _pictures(folder / "data" / scene, len(classes), source)
    ]
    if not samples:
        raise SceneError(
            f"{folder} has no scene in data that is named in splits and has rendered depth; prepare it with the "
            "toolkit of the data"
        )
    return ProbeSet("ScanNet++", tuple(samples), classes, depth_range=RANGE_M)


def _pictures(path: Path, classes: int, source: ProbeSource) -> Iterator[ProbeSample]:
    scene = read_views(path, source)
    for view in sorted(scene.views, key=lambda view: view.name)[:: source.every]:
        sample = sample_of_view(path.name, view)
        labels = path / "dslr" / "semantics" / f"{Path(view.name).stem}.png"
        if sample.depth is not None:
            known = bool(classes) and labels.is_file()
            yield replace(sample, labels=labels_of(labels, classes, 1, sample.size) if known else None)
