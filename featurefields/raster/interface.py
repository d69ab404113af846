"""What a rasterizer is.

Letters: n Gaussians · c drawn channels · h w pixels · k contributors.

The definition shared by all backends. A Gaussian with world covariance S projects to the image with the
perspective Jacobian at its mean (EWA splatting, Zwicker et al. 2001); `blur_px2` is added to the diagonal of
the 2D covariance C. At a pixel centre p its opacity is a = min(alpha_max, o exp(-d' C^-1 d / 2)), d = p - mean,
and 0 where that is below `alpha_min`. Gaussians are sorted once per picture by the depth of their mean
(ties by index) and composited front to back: weight w_i = a_i T_i, T_{i+1} = T_i (1 - a_i); a Gaussian that
would take T to `transmittance_min` or below, and all behind it, is left out. The picture is sum_i w_i c_i,
linear in the channels; alpha is sum_i w_i. Nothing is divided by alpha and no background is added.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.splats import Splats


@dataclass(frozen=True, kw_only=True)
class RasterConfig:
    """The numerical constants of drawing, the same for every backend."""

    near: float = 0.01
    """Gaussians whose mean is nearer to the camera plane than this (world units) are not drawn."""
    alpha_min: float = 1.0 / 255.0
    """Contributions with a smaller opacity at the pixel are dropped."""
    alpha_max: float = 0.999
    """Upper bound of one Gaussian's opacity at a pixel."""
    blur_px2: float = 0.3
    """Variance in square pixels added to every projected Gaussian (low-pass filter of one pixel)."""
    transmittance_min: float = 1e-4
    """Compositing stops when less light than this is left."""
    clip_margin: float = 0.3
    """The Jacobian is taken at most this fraction of the half-image outside the picture."""


@dataclass(frozen=True)
class Raster:
    """A drawn picture: channels premultiplied by coverage, and the coverage itself."""

    image: Float[Tensor, "h w c"]
    alpha: Float[Tensor, "h w"]


FROZEN_BYTES = 2**30
"""Default for how many bytes of contributions are kept; whatever does not fit is calculated again when needed."""


@dataclass(frozen=True)
class Contributors:
    """The Gaussians that a pixel shows, largest weight first: indices (-1: no more), and their weights (0)."""

    ids: Int[Tensor, "h w k"]
    weights: Float[Tensor, "h w k"]


@dataclass(frozen=True)
class Visibility:
    """How well a view sees every Gaussian: the sum of its weights over all pixels, and the largest of them."""

    total: Float[Tensor, "n"]
    peak: Float[Tensor, "n"]


@runtime_checkable
class FrozenView(Protocol):
    """One camera's picture with the geometry held fixed: a sparse matrix W of weights, pixels by Gaussians."""

    @property
    def alpha(self) -> Float[Tensor, "h w"]:
        """Coverage: the sums of W's rows."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that the view keeps, in bytes."""
        ...

    def draw(self, channels: Float[Tensor, "n c"]) -> Float[Tensor, "h w c"]:
        """W channels; differentiable in the channels."""
        ...

    def gather(self, maps: Float[Tensor, "h w c"]) -> Float[Tensor, "n c"]:
        """The transpose of W times maps. Not differentiable."""
        ...

    def contributors(self, count: int = 1) -> Contributors:
        """The `count` Gaussians with the largest weights at every pixel."""
        ...

    def visibility(self) -> Visibility:
        """How well the view sees every Gaussian."""
        ...


@runtime_checkable
class Rasterizer(Protocol):
    """A backend. `draw` is linear in `channels`; `gather` is its transpose with the geometry held fixed."""

    @property
    def name(self) -> str:
        """What `--backend` calls it."""
        ...

    def draw(
        self, splats: Splats, channels: Float[Tensor, "n c"], camera: Camera, config: RasterConfig
    ) -> Raster:
        """Composite `channels`; differentiable in the geometry and the channels."""
        ...

    def gather(
        self, splats: Splats, maps: Float[Tensor, "h w c"], camera: Camera, config: RasterConfig
    ) -> Float[Tensor, "n c"]:
        """sum_p w_ip maps_p for every Gaussian i: <draw(x), m> = <x, gather(m)>. Not differentiable."""
        ...

    def freeze(
        self, splats: Splats, camera: Camera, config: RasterConfig, *, budget_bytes: int = FROZEN_BYTES
    ) -> FrozenView:
        """The view of `camera` with the geometry as it is now, for many products; keeps at most `budget_bytes`."""
        ...
