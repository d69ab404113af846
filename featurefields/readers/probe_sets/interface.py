"""Pictures with what is known of their pixels, read when asked for.

Letters: h w pixels.

All pictures of one sample have one size and show the same pixels. Unknown is 0 in depth, a zero vector in normals and
`IGNORED` in labels and regions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import SceneError

IGNORED = -1
"""Label of pixels without one."""

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ProbeSample:
    """One picture and its truth; every call reads the files anew.

    Attributes:
        name: unique in its set.
        scene: what it was taken of; a scene is on one side of the split only.
        split: whether probes are trained on it or measured on it.
        size: (width, height) of all its pictures.
        image: sRGB colours in 0..1 (h w 3).
        depth: along the optical axis in metres (h w), 0 where unknown; None without.
        normal: unit vectors (h w 3) in the frame of the camera (x right, y down, z forward) unless the set's layout
            says otherwise, zero where unknown; None without.
        labels: indices of the set's classes (h w), `IGNORED` where there is none; None without.
        regions: indices of the set's regions (h w), `IGNORED` where there is none; None without.
        camera: pinhole camera in the frame of its scene, in metres; None when nobody knows it.
        crop: (left, top, right, bottom) of the pixels in which a published protocol measures depth; None for all.
    """

    name: str
    scene: str
    split: Split
    size: tuple[int, int]
    image: Callable[[], Tensor]
    depth: Callable[[], Tensor] | None = None
    normal: Callable[[], Tensor] | None = None
    labels: Callable[[], Tensor] | None = None
    regions: Callable[[], Tensor] | None = None
    camera: Camera | None = None
    crop: tuple[int, int, int, int] | None = None

    def looked_at(self) -> Bool[Tensor, "h w"]:
        """True inside the crop."""
        width, height = self.size
        left, top, right, bottom = self.crop or (0, 0, width, height)
        inside = torch.zeros(height, width, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        return inside

    def read_image(self) -> Float[Tensor, "h w 3"]:
        """`image()`, checked.

        Raises:
            SceneError: the picture has another size than the sample.
        """
        image = self.image()
        self._checked(image, "picture")
        return image

    def read_truth(self, kind: Literal["depth", "normal", "labels", "regions"]) -> Tensor:
        """The truth of this kind, checked; there must be some.

        Raises:
            SceneError: it has another size than the sample.
        """
        read = getattr(self, kind)
        assert read is not None, f"{self.name} has no {kind}"
        truth = read()
        self._checked(truth, kind)
        return truth

    def _checked(self, pixels: Tensor, what: str) -> None:
        height, width = pixels.shape[:2]
        if (width, height) != self.size:
            raise SceneError(
                f"{self.name}: its {what} has {width}x{height} pixels where {self.size[0]}x{self.size[1]} are due; "
                "restore the file"
            )


@dataclass(frozen=True)
class ProbeSet:
    """Samples of some scenes, of which probes are trained and measured.

    Attributes:
        name: how the data are called.
        samples: in any order; names unique.
        classes: names of the labels.
        regions: names of the regions, e.g. materials.
        depth_range: (least, largest) depth in metres that a published protocol counts; None for what there is.
        pairs: names of samples to match with each other; None to choose them.
        notes: what a reader wants told, one line each.
    """

    name: str
    samples: tuple[ProbeSample, ...]
    classes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    depth_range: tuple[float, float] | None = None
    pairs: tuple[tuple[str, str], ...] | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [sample.name for sample in self.samples]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SceneError(f"{self.name} has two pictures called {twice}; give folders of different names")
        both = set(self.scenes("train")) & set(self.scenes("test"))
        if both:
            raise SceneError(
                f"scene {min(both)} of {self.name} is on both sides of the split; hold out whole scenes"
            )

    def split(self, name: Split) -> tuple[ProbeSample, ...]:
        """The samples of one side, sorted by name: their order in the set never matters."""
        return tuple(sorted((x for x in self.samples if x.split == name), key=lambda x: x.name))

    def scenes(self, name: Split) -> tuple[str, ...]:
        """Names of the scenes of one side, sorted."""
        return tuple(sorted({sample.scene for sample in self.samples if sample.split == name}))


def existing_folder(path: Path, layout: str) -> Path:
    """`path`, when it is a folder. Raises `SceneError` otherwise."""
    if not path.is_dir():
        raise SceneError(f"{path} is no folder, so it holds no data of layout '{layout}'; check the path")
    return path


def as_labels(ids: Int[Tensor, "h w"], classes: int, *, first: int = 0) -> Int[Tensor, "h w"]:
    """Stored ids `first` … `first + classes - 1` as 0 … `classes - 1`, everything else as `IGNORED`."""
    shifted = ids - first
    return torch.where((shifted >= 0) & (shifted < classes), shifted, IGNORED)
