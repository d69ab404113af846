"""What a prompt says about every Gaussian, whatever features are compared.

Letters: n Gaussians · m Gaussians that a prompt shows · h w pixels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.segmentation.prompts import Box, Click, MaskPrompt, PixelPrompt, covered
from featurefields.segmentation.prototypes import MOST
from featurefields.segmentation.reflection import reflected_share
from featurefields.segmentation.viewed import ViewedField

STRONG = 0.1
"""A selection grows from the Gaussians with at least this part of a click's largest share."""

SURE = 0.5
"""Gaussians with at least this part of a click's largest share are what was clicked, whatever they look like."""

SPOT = 0.1
"""A click is not sure of a Gaussian that its picture shows more than ten times as much of elsewhere."""

MOSTLY = 0.5
"""An area shows a Gaussian when more than this part of what the picture shows of it is inside."""

SEEN = 0.15
"""Only Gaussians that give at least one pixel this weight are judged by where they show; others may shine through."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one prompt says.

    Attributes:
        camera: whose picture it was given in; None for a text.
        positive: whether it says "this" or "not this".
        rows: Gaussians that it shows, in the order of the field.
        share: how much of its pixels they show; sums to 1.
        ring: how much of the pixels just outside of a box or whole mask they show; None for other prompts.
        seeds: which of `rows` a selection grows from.
        sure: which of `rows` are selected (or, by a negative prompt, not) whatever they look like.
        prototypes: at most how many prototypes describe it.
        allowed: what may be selected at all; None when everything may.
        outside: what its picture shows mostly outside of a positive box or whole mask; None for other prompts.
        coverage: share of its pixels that Gaussians cover; 1 for a text.
        reflected: share of the light at its pixels that depends on the view; None when nobody knows.
    """

    camera: Camera | None
    positive: bool
    rows: Int[Tensor, "m"]
    share: Float[Tensor, "m"]
    seeds: Bool[Tensor, "m"]
    sure: Bool[Tensor, "m"]
    ring: Float[Tensor, "m"] | None = None
    prototypes: int = MOST
    allowed: Bool[Tensor, "n"] | None = None
    outside: Bool[Tensor, "n"] | None = None
    coverage: float = 1.0
    reflected: float | None = None


@torch.no_grad()
def evidence_of(prompt: PixelPrompt, viewed: ViewedField, *, radius_px: float) -> Evidence:
    """What a prompt in a picture says.

    Raises:
        PromptError: it is outside the picture, or shows nothing (sky, a hole).
    """
    prompt.check()
    view = viewed.view(prompt.camera)
    pixels = prompt.pixels(radius_px).to(view.alpha.device)
    around = isinstance(prompt, Box) or (isinstance(prompt, MaskPrompt) and prompt.whole)
    ring = prompt.ring().to(pixels) if isinstance(prompt, Box | MaskPrompt) and around else None
    gathered = view.gather(torch.stack([pixels] if ring is None else [pixels, ring], dim=-1).to(view.alpha))
    coverage = covered(prompt, float(gathered[:, 0].sum()), int(pixels.sum()))
    rows = (gathered[:, 0] if ring is None else gathered.sum(-1)).nonzero().squeeze(-1)
    shares = gathered[rows] / gathered.sum(0).clamp(min=1e-12)
    share = shares[:, 0]
    seeds, sure = share >= STRONG * share.max(), share >= SURE * share.max()
    allowed = outside = None
    if isinstance(prompt, Click):
        sure &= gathered[rows, 0] >= SPOT * viewed.visibility(prompt.camera).total[rows]
    else:
        inside, seen = _shown_inside(gathered[:, 0], prompt, viewed)
        clear = (inside & seen)[rows]
        if bool(
            clear.any()
        ):  # else the area is smaller than what it shows: a thin stroke over large Gaussians
            seeds = clear
        sure = clear & (not isinstance(prompt, Box))
        if around and prompt.positive:
            outside = seen & ~inside
            allowed = ~outside & _in_frustum(prompt, viewed)
    return Evidence(
        prompt.camera,
        prompt.positive,
        rows,
        share,
        seeds,
        sure,
        ring=None if ring is None else shares[:, 1],
        prototypes=1 if isinstance(prompt, Click) else MOST,
        allowed=allowed,
        outside=outside,
        coverage=coverage,
        reflected=reflected_share(pixels, rows, prompt.camera, viewed),
    )


def _shown_inside(
    gathered: Float[Tensor, "n"], prompt: PixelPrompt, viewed: ViewedField
) -> tuple[Bool[Tensor, "n"], Bool[Tensor, "n"]]:
    """Which Gaussians show mostly inside the prompt's pixels, and which the picture shows clearly."""
    visibility = viewed.visibility(prompt.camera)
    return gathered > MOSTLY * visibility.total, visibility.peak >= SEEN


def _in_frustum(prompt: PixelPrompt, viewed: ViewedField) -> Bool[Tensor, "n"]:
    """Which Gaussians' means a box shows or would show if nothing hid them; all for other prompts."""
    means = viewed.field.splats.means
    if not isinstance(prompt, Box):
        return torch.ones_like(means[:, 0], dtype=torch.bool)
    pixels, depth = prompt.camera.to(means).project(means)
    return prompt.holds(pixels) & (depth > 0)
