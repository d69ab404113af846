"""What a head is.

Letters: n Gaussians · c drawn channels · h w pixels · d channels of a decoded layer.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from featurefields.camera import Camera
from featurefields.maths.similarity import Similarity
from featurefields.splats import Splats

Layers = dict[str, Tensor]
"""Decoded pictures of one head by layer name, each (h w d); "total" is always there, "indep" and "dep" where
the head splits what it shows into a view-independent and a view-dependent part."""


class Head(nn.Module, ABC):
    """Reads columns of the splats, makes channels for one camera, decodes drawn pixels into layers."""

    kind: str
    """Name in the registry; written into archives."""

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """Names of the columns this head needs."""

    @abstractmethod
    def splat(self, splats: Splats, camera: Camera) -> Float[Tensor, "n c"]:
        """Channels to draw for this camera, one row a Gaussian."""

    @abstractmethod
    def decode(self, pixels: Float[Tensor, "h w c"], alpha: Float[Tensor, "h w"], camera: Camera) -> Layers:
        """Layers from the drawn channels (premultiplied by alpha, as the rasterizer gives them)."""

    def at_gaussians(self, splats: Splats, camera: Camera) -> Layers:
        """The layers of every Gaussian by itself, each (n d), as `camera` sees it where nothing else is.

        Right for heads whose `decode` looks at no pixel's direction; others replace it.
        """
        channels = self.splat(splats, camera)
        layers = self.decode(channels[:, None], channels.new_ones(len(channels), 1), camera)
        return {name: layer[:, 0] for name, layer in layers.items()}

    def matter(self, splats: Splats) -> Float[Tensor, "n d"] | None:
        """The layer "indep" of every Gaussian by itself, which is the same for all cameras; None if there is none."""
        del splats
        return None

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON-able keyword arguments that rebuild this head; its tensors are in `state_dict()`."""

    def row_shapes(self, columns: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
        """Shapes that one row of these columns must have to be drawn by this head; others may have any shape."""
        del columns
        return {}

    def turned(self, columns: dict[str, Tensor], rotation: Float[Tensor, "3 3"]) -> dict[str, Tensor]:
        """This head's columns after the Gaussians were turned by `rotation` about any point."""
        del rotation
        return {name: columns[name] for name in self.reads}

    def in_moved_world(self, similarity: Similarity) -> "Head":
        """This head for a world that was moved as a whole, surroundings included."""
        del similarity
        return self

    def without_surroundings(self) -> "Head":
        """This head without what no Gaussian shows (sky, background)."""
        return self
