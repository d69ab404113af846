"""The sky as splats, for viewers that know nothing else.

Letters: n Gaussians.
"""

import math

import torch
from torch import Tensor

from featurefields.field import FeatureField
from featurefields.heads.reflected import ReflectedHead
from featurefields.maths.colour import srgb_from_linear
from featurefields.maths.harmonics import CONSTANT, harmonics_count
from featurefields.splats import Splats

COUNT = 2000
"""Splats of the dome: they are about 4.5 degrees apart, far finer than a sky of third-order harmonics."""
OVERLAP = 1.0
"""Standard deviation of a splat of the dome, in distances to its neighbours; sums to full cover everywhere."""
FAR = 20.0
"""The dome is at least so many times as far away as the cameras are from each other: it hardly shifts between them."""
OPAQUE = 8.0
"""Logit of the opacity."""


@torch.no_grad()
def sky_splats(field: FeatureField, degree: int = 3) -> Splats | None:
    """A sphere of splats around everything that shows the field's sky, or None where it has none.

    Columns "harmonics" ((degree + 1)^2 bands, only the constant one used) and "normals" (inwards).
    """
    head = field.heads.get("rgb")
    if not isinstance(head, ReflectedHead) or not head.sky:
        return None
    centre, radius = _extent(field)
    directions = even_directions(COUNT).to(field.splats.means)
    colours = srgb_from_linear(head.sky_light(directions)).clamp(0, 1)
    bands = colours.new_zeros(COUNT, harmonics_count(degree), 3)
    bands[:, 0] = (colours - 0.5) / CONSTANT
    size = math.log(radius * math.sqrt(4 * math.pi / COUNT) * OVERLAP)
    quats = colours.new_zeros(COUNT, 4)
    quats[:, 0] = 1
    return Splats(
        centre + radius * directions,
        quats,
        colours.new_full((COUNT, 3), size),
        colours.new_full((COUNT,), OPAQUE),
        {"harmonics": bands, "normals": -directions},
    )


def even_directions(count: int) -> Tensor:
    """Unit directions (count 3) evenly spread over the sphere (a Fibonacci spiral)."""
    index = torch.arange(count) + 0.5
    height, turn = 1 - 2 * index / count, index * math.pi * (3 - math.sqrt(5))
    flat = (1 - height**2).sqrt()
    return torch.stack([flat * turn.cos(), flat * turn.sin(), height], dim=-1)


def _extent(field: FeatureField) -> tuple[Tensor, float]:
    """Centre of the cameras (of the Gaussians without any), and a radius beyond every Gaussian."""
    means, cameras = field.splats.means, list(field.about.cameras.values())
    seen_from = torch.stack([camera.position for camera in cameras]).to(means) if cameras else means
    centre = seen_from.mean(0)
    reach = float((means - centre).norm(dim=-1).max())
    spread = float((seen_from - centre).norm(dim=-1).max()) if cameras else reach
    return centre, max(1.1 * reach, FAR * spread, 1e-3)
