"""Recolouring one object: is its texture kept, and everything else as it was?

Letters: h w pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.edits.measurement import Subject, Truth
from featurefields.editing.edits import Recolor, apply
from featurefields.editing.interface import luminance
from featurefields.evaluation.regions import MIN_PIXELS, SceneObject
from featurefields.maths.colour import linear_from_srgb
from featurefields.maths.compositing import over_alpha

COLOUR = (40 / 255, 120 / 255, 220 / 255)
"""What everything is recoloured to."""
RADIUS = 3
"""High-pass is what differs from the mean over a square of this radius, inside the object."""


@dataclass(frozen=True)
class Recoloured:
    """One object after `ff edit --recolor`.

    Attributes:
        layer: what was recoloured.
        texture: correlation of high-pass luminance before and after, inside the object, over all held-out views.
        outside_db: change of the PSNR against the photos outside the dilated mask.
        hue: cosine of the mean linear colour inside with the colour asked for.
    """

    object: str
    material: str
    layer: str
    texture: float
    outside_db: float
    hue: float


def measure_recolouring(
    subject: Subject, truth: Truth, entry: SceneObject, mask: Tensor, layer: str
) -> Recoloured:
    """Recolour what the mask selects and compare with the field as it is."""
    edited = apply(Recolor(COLOUR, layer=layer), subject.field, mask) if bool(mask.any()) else subject.field  # type: ignore[arg-type]
    before, after = subject.unedited, subject.pictures(edited, truth.views)
    inside = [ids == entry.id for ids in truth.ids]
    inside = [shown if int(shown.sum()) >= MIN_PIXELS else torch.zeros_like(shown) for shown in inside]
    mean = torch.cat([linear_from_srgb(picture)[shown] for picture, shown in zip(after, inside, strict=True)])
    wanted = linear_from_srgb(torch.tensor(COLOUR))
    return Recoloured(
        entry.name, entry.material, layer,
        texture=texture_kept(before, after, inside),
        outside_db=truth.outside(after, entry.id) - truth.outside(before, entry.id),
        hue=float(torch.cosine_similarity(mean.mean(0), wanted, dim=0)),
    )  # fmt: skip


def texture_kept(
    before: Sequence[Float[Tensor, "h w 3"]],
    after: Sequence[Float[Tensor, "h w 3"]],
    inside: Sequence[Bool[Tensor, "h w"]],
) -> float:
    """Correlation of high-pass luminance of two series of pictures inside masks; NaN where one has no texture."""
    series = []
    for pictures in (before, after):
        parts = [high_pass(picture, shown)[shown] for picture, shown in zip(pictures, inside, strict=True)]
        series.append(torch.cat(parts).double())
    one, two = (values - values.mean() for values in series)
    return float((one * two).sum() / (one.norm() * two.norm()))


def high_pass(picture: Float[Tensor, "h w 3"], inside: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Displayed luminance less its mean over the masked pixels of a square around."""
    weight = inside.float()
    shade = luminance(picture)[..., 0] * weight
    size = 2 * RADIUS + 1
    pool = torch.nn.functional.avg_pool2d
    total, count = (
        pool(x[None, None], size, stride=1, padding=RADIUS, count_include_pad=True)[0, 0]
        for x in (shade, weight)
    )
    return shade - weight * over_alpha(total[..., None], count)[..., 0]
