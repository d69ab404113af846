"""The readers known by name. A reader is a function (path, *, points: bool) -> Capture."""

from featurefields.registry import Registry

READERS = Registry(
    kind="scene format",
    group="featurefields.readers",
    entries={
        "nerfstudio": "featurefields.readers.nerfstudio:read_nerfstudio",
        "colmap": "featurefields.readers.colmap:read_colmap",
        "blender": "featurefields.readers.blender:read_blender",
        "scannetpp": "featurefields.readers.scannetpp:read_scannetpp",
    },
)
