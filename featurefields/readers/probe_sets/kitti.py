"""KITTI depth prediction on Eigen's split (Geiger et al. 2012; Uhrig et al. 2017).

    kitti_eigen_train.txt, kitti_eigen_test.txt: picture, depth (or None), focal length
    input/2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png   (also directly in the folder)
    gt_depth/2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_02/0000000069.png   16 bit, metres = value / 256

Pictures are cut to 1216 x 352 at the bottom in the middle (the benchmark's crop); depth is measured within Garg's crop
of that, between 1 mm and 80 m.
"""

from collections.abc import Sequence
from pathlib import Path

from featurefields.errors import SceneError
from featurefields.images import read_size
from featurefields.readers.probe_sets.interface import ProbeSample, ProbeSet, Split, existing_folder
from featurefields.readers.probe_sets.lists import Listed, listed_pictures
from featurefields.readers.probe_sets.pixels import Box, depth_of, fitted, image_of
from featurefields.readers.probe_sets.registered import ProbeSource

UNIT_M = 1 / 256
RANGE_M = (1e-3, 80.0)
BENCHMARK = (1216, 352)
GARG = (0.03594771, 0.40810811, 0.96405229, 0.99189189)
"""(left, top, right, bottom) as shares of the picture (Garg et al. 2016)."""
LISTS: tuple[tuple[Split, str], ...] = (("train", "kitti_eigen_train.txt"), ("test", "kitti_eigen_test.txt"))
ROOTS = (("input", ""), ("gt_depth", "", "input"))


def read_kitti(folders: Sequence[Path], source: ProbeSource) -> ProbeSet:
    """Depth of the listed pictures that have some. Raises `SceneError` when there are none."""
    folder = existing_folder(folders[0], "kitti")
    listed = list(listed_pictures(folder, LISTS, ROOTS))
    without = sum(not entry.others or entry.others[0] is None for entry in listed)
    samples = tuple(
        _sample(entry, entry.others[0], source) for entry in listed if entry.others and entry.others[0]
    )[:: source.every]
    if not samples:
        raise SceneError(
            f"{folder} has no kitti_eigen_train.txt or kitti_eigen_test.txt that names pictures with depth"
        )
    notes = (f"{without} listed pictures have no depth; left out",) if without else ()
    return ProbeSet("KITTI", samples, depth_range=RANGE_M, notes=notes)


def benchmark_box(size: tuple[int, int]) -> Box:
    """The part of a picture of `size` = (width, height) that is looked at: at the bottom, in the middle."""
    width, height = min(size[0], BENCHMARK[0]), min(size[1], BENCHMARK[1])
    left, top = (size[0] - width) // 2, size[1] - height
    return left, top, left + width, size[1]


def _sample(entry: Listed, depth: Path, source: ProbeSource) -> ProbeSample:
    box = benchmark_box(read_size(entry.image))
    size = fitted((box[2] - box[0], box[3] - box[1]), source.longest_side)
    width, height = size
    return ProbeSample(
        name=entry.name,
        scene=next(
            (part for part in entry.name.split("/") if "drive" in part), entry.name.rpartition("/")[0]
        ),
        split=entry.split,
        size=size,
        image=image_of(entry.image, size, box),
        depth=depth_of(depth, UNIT_M, size, box),
        crop=(int(GARG[0] * width), int(GARG[1] * height), int(GARG[2] * width), int(GARG[3] * height)),
    )
