"""What is believed about surfaces before any photo is seen.

Letters: h w pixels.

Photos alone do not say what is matter and what is reflection, nor where a mirror's surface is: the same pictures can
come from a clear object with a second scene inside. These beliefs decide it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize, pad

from featurefields.camera import Camera
from featurefields.heads.interface import Layers


@dataclass(frozen=True, kw_only=True)
class PriorWeights:
    """Weights of the priors; 0 turns one off."""

    surface: float = 0.05
    """What covers a pixel lies at one depth: surfaces, and no second scene behind a mirror."""
    normals: float = 0.05
    """Drawn normals are those of the drawn depth."""
    geometry: float = 0.02
    """The drawn depth has the drawn normals."""
    distant: float = 0.07
    """Reflections of the shared surroundings are dark unless photos show them."""
    near: float = 0.16
    """Reflections that Gaussians have for themselves are dark unless photos show them."""
    rough: float = 0.002
    """Surfaces are rough unless photos show otherwise."""


NONE = PriorWeights(surface=0.0, normals=0.0, geometry=0.0, distant=0.0, near=0.0, rough=0.0)
"""No priors at all (an ablation)."""

SCALE = 0.05
"""Spread of depths along a pixel, relative to its depth, at which the penalty has reached half of its bound."""
DARK = 0.04
"""Brightness (sRGB, 0..1) up to which reflections are charged in full; brighter ones are charged ever less for more."""
NORMALS_FROM = 0.05
"""Fraction of the steps after which normals and depth are compared."""


@dataclass(frozen=True)
class Surface:
    """What a drawing says of the surface in every pixel.

    Attributes:
        depth: mean depth along the optical axis of what covers the pixel.
        square: mean of the squared depth.
        alpha: coverage.
    """

    depth: Float[Tensor, "h w"]
    square: Float[Tensor, "h w"]
    alpha: Float[Tensor, "h w"]


def priors(
    layers: Layers, surface: Surface, camera: Camera, weights: PriorWeights, progress: float
) -> Float[Tensor, ""]:
    """Their weighted sum; `progress` is the fraction of the steps that are done."""
    total = surface.alpha.new_zeros(())
    if weights.surface > 0:
        total = total + weights.surface * spread(surface)
    if "normal" in layers and progress > NORMALS_FROM:
        drawn, coverage = layers["normal"], surface.alpha.detach()
        if weights.normals > 0:
            total = total + weights.normals * disagreement(drawn, surface.depth.detach(), coverage, camera)
        if weights.geometry > 0:
            total = total + weights.geometry * disagreement(drawn.detach(), surface.depth, coverage, camera)
    for weight, name in ((weights.distant, "distant"), (weights.near, "near")):
        if weight > 0 and name in layers:
            total = total + weight * sparse(layers[name])
    if weights.rough > 0 and "roughness" in layers:
        total = total + weights.rough * (1 - layers["roughness"]).mean()
    return total


def sparse(brightness: Float[Tensor, "h w c"]) -> Float[Tensor, ""]:
    """Mean of DARK log(1 + |b| / DARK): traces of reflection must go, a mirror pays little more for all it shows.

    A concave charge prefers none or all to a little of both, as the logarithm does in sparse coding.
    """
    return (DARK * torch.log1p(brightness.abs() / DARK)).mean()


def spread(surface: Surface) -> Float[Tensor, ""]:
    """Mean over the pixels of v / (v + SCALE^2), v the variance of depth along the pixel over its squared mean.

    The variance is half of the sum over all pairs of what covers the pixel of their squared distances, weighted by
    both (the distortion of Mip-NeRF 360 and 2DGS, with squares for absolute values). It is bounded because where a
    silhouette covers half of a pixel two depths are right.
    """
    mean = surface.depth.square()
    variance = (surface.square - mean).clamp(min=0) / mean.clamp(min=1e-6)
    return (surface.alpha.detach() * variance / (variance + SCALE**2)).mean()


def normals_from_depth(depth: Float[Tensor, "h w"], camera: Camera) -> Float[Tensor, "h w 3"]:
    """Unit world normals, towards the camera, of the surface that a depth map describes; borders repeat."""
    points = camera.unproject(depth).permute(2, 0, 1)[None]
    points = pad(points, (1, 1, 1, 1), mode="replicate")[0].permute(1, 2, 0)
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    return normalize(torch.linalg.cross(down, across), dim=-1)


def disagreement(
    normals: Float[Tensor, "h w 3"], depth: Float[Tensor, "h w"], alpha: Float[Tensor, "h w"], camera: Camera
) -> Float[Tensor, ""]:
    """Mean of 1 - <drawn normal, normal of the drawn depth>, weighted by coverage and blind across depth edges."""
    held = depth.detach()[None, None]
    far = max_pool2d(held, 3, stride=1, padding=1)[0, 0]
    near = -max_pool2d(-held, 3, stride=1, padding=1)[0, 0]
    weight = torch.where((far < 1.1 * near) & (near > 0), alpha, torch.zeros_like(alpha))
    agreement = (normals * normals_from_depth(depth, camera)).sum(-1)
    return (weight * (1 - agreement)).sum() / weight.sum().clamp(min=1.0)
