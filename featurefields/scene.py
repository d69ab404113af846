"""Posed photos: what every reader makes and every workflow takes.

Letters: h w pixels · m points · c channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnknownNameError
from featurefields.maths.similarity import Similarity


@runtime_checkable
class Picture(Protocol):
    """Where a view's pixels come from; every call reads the files anew (nothing is kept)."""

    @property
    def path(self) -> Path:
        """The photo file."""
        ...

    def image(self) -> Float[Tensor, "h w 3"]:
        """sRGB colours in 0..1, as the view's camera sees them."""
        ...

    def mask(self) -> Bool[Tensor, "h w"] | None:
        """True where the photo shows the scene; None when every pixel does."""
        ...

    def depth(self) -> Float[Tensor, "h w"] | None:
        """Depth along the optical axis in world units, 0 where unknown; None without a depth map."""
        ...

    def layer(self, name: str) -> Float[Tensor, "h w c"] | None:
        """Another aligned picture by name ("diffuse", "normal", "instance", "roughness", "albedo"), raw values:
        colours in 0..1, instance ids as whole numbers; None when there is none."""
        ...

    def photo_to_camera(self, x: float, y: float) -> tuple[float, float]:
        """Pixel of the undistorted, resized picture that shows what pixel (x, y) of the photo file shows."""
        ...

    def photo_size(self) -> tuple[int, int]:
        """(width, height) of the photo file."""
        ...


@dataclass(frozen=True)
class View:
    """One posed photo.

    Attributes:
        name: how the source calls it, e.g. "images/0001.jpg".
        camera: pinhole camera of the undistorted, resized picture.
        split: whether it may be fitted or is held out.
        picture: lazy access to its pixels.
    """

    name: str
    camera: Camera
    split: Literal["train", "test"]
    picture: Picture


@dataclass(frozen=True)
class PointCloud:
    """Coloured points (colours in 0..1, sRGB)."""

    positions: Float[Tensor, "m 3"]
    colours: Float[Tensor, "m 3"]


@dataclass(frozen=True)
class Scene:
    """Views and points in one normalised world frame.

    Attributes:
        name: folder name.
        folder: where it was read from.
        views: every usable view, in the source's order.
        points: sparse points that come with the poses, or None.
        world_from_capture: from the frame of the source's poses to `views`' and `points`' frame.
        up: unit up direction in the world.
        missing: names of listed photos that do not exist.
        notes: what a reader wants told (one line each).
    """

    name: str
    folder: Path
    views: tuple[View, ...]
    points: PointCloud | None = None
    world_from_capture: Similarity = field(default_factory=Similarity.identity)
    up: Float[Tensor, "3"] | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def split(self, name: Literal["train", "test"]) -> tuple[View, ...]:
        return tuple(view for view in self.views if view.split == name)

    def cameras(self) -> Mapping[str, Camera]:
        return {view.name: view.camera for view in self.views}

    def view(self, name: str) -> View:
        """The view called `name`: its full name, file name, or file name without ending.

        Raises:
            UnknownNameError: none or several views match.
        """
        exact = [view for view in self.views if view.name == name]
        near = exact or [view for view in self.views if name in (Path(view.name).name, Path(view.name).stem)]
        if len(near) == 1:
            return near[0]
        found = "several views are" if near else "no view is"
        some = ", ".join(view.name for view in (near or self.views)[:5])
        raise UnknownNameError(f"{found} called '{name}' in scene '{self.name}'; for example: {some}")
