"""The trained network as a geometry provider.

Letters: v views · h w pixels of a picture · hi wi of what the network sees.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from featurefields.camera import Camera
from featurefields.errors import FittingError, UnavailableError
from featurefields.lifting.geometry import Given, PosedPicture, ViewGeometry
from featurefields.lifting.lifter.network import Lifter, Posed
from featurefields.lifting.lifter.weights import load_lifter
from featurefields.lifting.overlap import matching_views

WEIGHTS_GROUP, WEIGHTS_NAME = "featurefields.weights", "lifter"
"""Entry point that says where the shipped weights are: a function without arguments that returns the file's path."""


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """How much the network looks at."""

    pixels: int = 110_000
    """Larger pictures are reduced to about so many pixels; what the network finds is enlarged again."""
    sources: int = 4
    """Other views that a view is compared with."""
    surface: float = 0.6
    """Pixels less likely to be a surface than this are surroundings: depth and confidence 0."""
    farthest: float = 0.25
    """So are those whose depth lies within this many planes of the far end: the scene ends before."""


class LifterProvider:
    """Implements `GeometryProvider`: every picture is encoded once and swept against the views that suit it."""

    def __init__(self, lifter: Lifter, config: ProviderConfig | None = None, *, name: str = "lifter") -> None:
        self._lifter, self._config, self.name = lifter, config or ProviderConfig(), name

    @torch.no_grad()
    def __call__(
        self, pictures: Sequence[PosedPicture], *, on_view: Callable[[], object] = lambda: None
    ) -> list[ViewGeometry]:
        """Raises `FittingError` when no two pictures show the same things."""
        cameras = [picture.camera for picture in pictures]
        sources = [
            matching_views(index, cameras, _depths(picture), self._config.sources)
            for index, picture in enumerate(pictures)
        ]
        if not any(sources):
            raise FittingError(
                f"the lifter compares views, and no two of these {len(pictures)} show the same things; give more or "
                "closer views"
            )
        posed = [self._encoded(picture) for picture in pictures]
        found = []
        for picture, reference, others in zip(pictures, posed, sources, strict=True):
            found.append(self._swept(picture, reference, [posed[other] for other in others]))
            on_view()
        return found

    def _encoded(self, picture: PosedPicture) -> Posed:
        camera = reduced_camera(picture.camera, self._config.pixels)
        size = (camera.height, camera.width)
        image = picture.picture[None].float()
        if camera.size != picture.camera.size:
            image = interpolate(image, size, mode="bilinear", antialias=True)
        return self._lifter.encode(image, [camera])[0]

    def _swept(self, picture: PosedPicture, reference: Posed, sources: Sequence[Posed]) -> ViewGeometry:
        h, w = picture.picture.shape[-2:]
        if not sources:
            nothing = torch.zeros(h, w, device=picture.picture.device)
            return ViewGeometry(nothing, nothing)
        swept = self._lifter(reference, sources, picture.near, picture.far)
        rows, columns = reference.camera.height, reference.camera.width
        nu = self._lifter.nu(swept.place, picture.near, picture.far)[:rows, :columns]
        said = torch.sigmoid(swept.said[:, :rows, :columns])
        place, depth = (
            _resized(layer, (h, w), "nearest") for layer in (swept.place[:rows, :columns], picture.near / nu)
        )
        confidence, surface = (_resized(layer, (h, w), "bilinear") for layer in said)
        keep = (surface >= self._config.surface) & (place >= self._config.farthest)
        if picture.mask is not None:
            keep = keep & picture.mask
        return ViewGeometry(torch.where(keep, depth, 0.0), torch.where(keep, confidence, 0.0))


def reduced_camera(camera: Camera, pixels: int) -> Camera:
    """The camera of the picture reduced to about `pixels` pixels; the camera itself where it has no more."""
    ratio = (pixels / (camera.width * camera.height)) ** 0.5
    if ratio >= 1:
        return camera
    return camera.resized((max(16, round(camera.width * ratio)), max(16, round(camera.height * ratio))))


def _resized(x: Float[Tensor, "hi wi"], size: tuple[int, int], mode: str) -> Float[Tensor, "h w"]:
    """Depth is not interpolated across edges; the rest is."""
    if tuple(x.shape) == size:
        return x
    return interpolate(x[None, None], size, mode="nearest-exact" if mode == "nearest" else mode)[0, 0]


def _depths(picture: PosedPicture) -> list[float]:
    """Depths at which views are compared, even in inverse depth."""
    low, high = 1 / picture.far, 1 / picture.near
    return [1 / (low + share * (high - low)) for share in (0.2, 0.5, 0.8)]


def lifter_provider(argument: str, given: Given) -> LifterProvider:
    """The provider "lifter" (shipped weights) or "lifter:<weights file>".

    Raises:
        UnavailableError: no weights are shipped, or there is no such file.
        FileFormatError: the file holds something else.
    """
    path = Path(argument).expanduser() if argument else shipped_weights()
    lifter, _ = load_lifter(path)
    return LifterProvider(lifter.to(given.device), name=f"lifter:{argument}" if argument else "lifter")


def shipped_weights() -> Path:
    """The file that the installed assets name.

    Raises:
        UnavailableError: they name none.
    """
    for (
        distribution
    ) in distributions():  # each of them: an older record of the same name may hide the newer one's
        for point in distribution.entry_points.select(group=WEIGHTS_GROUP, name=WEIGHTS_NAME):
            return Path(point.load()())
    raise UnavailableError(
        "no weights of the lifter are installed; install featurefields anew, or give a file: lifter:<weights file>"
    )
