"""Where the surfaces of posed pictures are: the interface that every source of geometry implements.

Letters: v views · h w pixels · m points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnknownNameError
from featurefields.maths.similarity import Similarity
from featurefields.raster import Rasterizer
from featurefields.registry import Registry


@dataclass(frozen=True)
class PosedPicture:
    """One picture as a geometry provider sees it.

    Attributes:
        name: how the scene calls the view.
        camera: its pinhole camera, of the picture's size.
        picture: sRGB colours in 0..1.
        near: least depth along the optical axis that anything has, world units, positive.
        far: largest such depth of what counts as scene; beyond lies the surroundings (sky).
        mask: False where the picture does not show the scene; None when every pixel does.
        measured: the view's depth map (h w; world units, 0 where unknown) when called; None without one.
    """

    name: str
    camera: Camera
    picture: Float[Tensor, "3 h w"]
    near: float
    far: float
    mask: Bool[Tensor, "h w"] | None = None
    measured: Callable[[], Float[Tensor, "h w"] | None] = lambda: None


@dataclass(frozen=True)
class ViewGeometry:
    """What is known about the surfaces behind one picture's pixels.

    Attributes:
        depth: along the optical axis, world units; 0 where unknown (surroundings, nothing to go by).
        confidence: 0..1, how likely the depth is right; 0 where the depth is unknown.
        scale_px: standard deviation of each pixel's Gaussian across the surface, in pixels of this picture; None
            lets pixel size and slant decide.
        opacity: 0..1 of each pixel's Gaussian; None lets the confidence decide.
    """

    depth: Float[Tensor, "h w"]
    confidence: Float[Tensor, "h w"]
    scale_px: Float[Tensor, "h w"] | None = None
    opacity: Float[Tensor, "h w"] | None = None


@runtime_checkable
class GeometryProvider(Protocol):
    """A source of geometry."""

    @property
    def name(self) -> str:
        """What `--geometry` calls it, with its argument."""
        ...

    def __call__(
        self, pictures: Sequence[PosedPicture], *, on_view: Callable[[], object] = lambda: None
    ) -> list[ViewGeometry]:
        """One `ViewGeometry` a picture, in order, on the pictures' device; time linear in the number of views.

        The same pictures give the same result, bit for bit, on the same machine. `on_view` is called once a view.

        Raises:
            FittingError: these pictures give no geometry (too few, no depth maps, nothing in common …).
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a provider may use beside the pictures, handed to its factory.

    Attributes:
        device: where the pictures are, and where weights should go.
        points: sparse points of the scene in the pictures' frame, or None.
        world_from_capture: the pictures' frame, for what comes from elsewhere (an existing splat).
        rasterizer: draws splats.
    """

    device: torch.device = torch.device("cpu")
    points: Float[Tensor, "m 3"] | None = None
    world_from_capture: Similarity = field(default_factory=Similarity.identity)
    rasterizer: Rasterizer | None = None


PROVIDERS = Registry(
    kind="geometry provider",
    group="featurefields.geometry_providers",
    entries={
        "lifter": "featurefields.lifting.lifter:lifter_provider",
        "sweep": "featurefields.lifting.sweep:sweep_provider",
        "data": "featurefields.lifting.depth_maps:depth_map_provider",
        "splat": "featurefields.lifting.drawn_depth:splat_provider",
        "transformers": "featurefields.lifting.mono_depth:mono_provider",
    },
)
"""An entry is a factory: entry(argument, given) → `GeometryProvider`; the argument is what follows the colon, or ""."""

ARGUMENTS = {"splat": "<field, archive or .ply>", "transformers": "<local folder or hub id of a depth model>"}
"""Entries of ours that need an argument after the colon, and what it is."""
OPTIONAL_ARGUMENTS = {"lifter": "<weights file>"}
"""Entries of ours that take an argument but do without."""


def choose_provider(name: str, given: Given) -> GeometryProvider:
    """The provider called `name`: "sweep", "data", "lifter", "lifter:<weights>", "splat:<path>", "transformers:<id>",
    and what third parties register.

    Raises:
        UnknownNameError: no such provider, or its argument is missing or too much.
        UnavailableError: a package or weights are missing.
    """
    entry, colon, argument = name.partition(":")
    factory = PROVIDERS.load(entry)
    if entry in ARGUMENTS and not argument:
        raise UnknownNameError(f"geometry provider '{entry}' needs to know which: {entry}:{ARGUMENTS[entry]}")
    if colon and entry in PROVIDERS.entries and entry not in {**ARGUMENTS, **OPTIONAL_ARGUMENTS}:
        raise UnknownNameError(
            f"geometry provider '{entry}' takes nothing after the colon, found '{argument}'"
        )
    return factory(argument, given)
