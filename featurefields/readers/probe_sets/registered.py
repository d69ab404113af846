"""The layouts known by name. A layout is a function (paths, ProbeSource) -> ProbeSet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from featurefields.errors import SceneError
from featurefields.readers.detect import detect_kind
from featurefields.readers.probe_sets.interface import ProbeSet
from featurefields.registry import Registry

PROBE_LAYOUTS = Registry(
    kind="probe data layout",
    group="featurefields.probe_layouts",
    entries={
        "scenes": "featurefields.readers.probe_sets.scenes:read_scenes",
        "nyuv2": "featurefields.readers.probe_sets.nyuv2:read_nyuv2",
        "scannet": "featurefields.readers.probe_sets.scannet:read_scannet",
        "scannetpp": "featurefields.readers.probe_sets.scannetpp:read_scannetpp",
        "kitti": "featurefields.readers.probe_sets.kitti:read_kitti",
        "ade20k": "featurefields.readers.probe_sets.ade20k:read_ade20k",
        "navi": "featurefields.readers.probe_sets.navi:read_navi",
    },
)


@dataclass(frozen=True, kw_only=True)
class ProbeSource:
    """What is read of the data."""

    held_out: tuple[str, ...] = ()
    """Scenes that probes are measured on and never trained on; without, what the layout says, else the last quarter of
    the scenes by name."""
    longest_side: int | None = None
    """Pictures are resized so that their longer side has so many pixels; without, they keep their size."""
    labels: Literal["category", "material"] = "category"
    """What the classes of our own scenes are: what an object is (the first word of its name), or its material."""
    every: int = 1
    """Take every N-th picture of each scene, by name."""


def read_probe_set(
    paths: Sequence[str | Path], *, layout: str = "auto", source: ProbeSource = ProbeSource()
) -> ProbeSet:
    """Data to probe on.

    Args:
        paths: folders of scenes (layout "scenes"), or the one folder of a public data set.
        layout: one of `PROBE_LAYOUTS`, or "auto" to look (docs/probes.md says what marks a layout).
        source: what is read of it.

    Raises:
        SceneError: nothing usable there, no scene on one of the sides, or a held-out scene that does not exist.
        UnknownNameError: no such layout.
    """
    folders = [Path(path).expanduser() for path in paths]
    if not folders:
        raise SceneError("no data to probe on; name at least one folder")
    for folder in folders:
        if not folder.exists():
            raise SceneError(f"{folder} does not exist; check the path")
    if source.every < 1 or (source.longest_side is not None and source.longest_side < 8):
        raise SceneError(
            f"cannot take every {source.every}-th picture at {source.longest_side} pixels; choose at least 1 and 8"
        )
    found = detect_layout(folders[0]) if layout == "auto" else layout
    return PROBE_LAYOUTS.load(found)(folders, source)


def detect_layout(folder: Path) -> str:
    """The layout of a folder by the files that mark it; "scenes" where none does.

    Raises:
        SceneError: nothing in it looks like data for probes.
    """
    marks = {
        "nyuv2": ("nyu_train.txt", "nyu_test.txt", "seg40", "seg13"),
        "kitti": ("kitti_eigen_train.txt", "kitti_eigen_test.txt"),
        "scannetpp": ("splits/nvs_sem_train.txt", "splits/nvs_sem_val.txt"),
        "ade20k": ("images/training", "annotations/training"),
    }
    for layout, names in marks.items():
        if any((folder / name).exists() for name in names):
            return layout
    if any(folder.glob("scene????_??/pose")):
        return "scannet"
    if any(folder.glob("*/*/annotations.json")):
        return "navi"
    try:
        detect_kind(folder)
    except SceneError as error:
        raise SceneError(
            f"{folder} has the layout of no data set that is known ({', '.join(PROBE_LAYOUTS.names())}) and is no "
            "scene; say which it is with --layout, or give folders of scenes"
        ) from error
    return "scenes"
