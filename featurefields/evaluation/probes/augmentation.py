"""Pictures turned, flipped, scaled, cropped and recoloured, as the published schedules do it.

Letters: h w pixels of a picture · H W pixels of what is cut from it · b batch.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from featurefields.evaluation.probes.dense import DenseTask
from featurefields.evaluation.probes.schedule import Task
from featurefields.readers.probe_sets.interface import ProbeSample


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How pictures of a task vary.

    Attributes:
        turn_deg: largest angle of a turn, which happens every second time.
        cut: (height, width) of what is cut out, as shares of the picture; None for a square.
        scales: least and largest factor of a picture's size.
        recoloured: vary gamma, brightness and the balance of colours every second time.
    """

    turn_deg: float = 0.0
    cut: tuple[float, float] | None = None
    scales: tuple[float, float] = (1.0, 1.0)
    recoloured: bool = False

    def cut_size(self, smallest: tuple[int, int]) -> tuple[int, int]:
        """(width, height) in pixels of what is cut from pictures of which the `smallest` has this width and height."""
        width, height = smallest
        if self.cut is None:
            side = min(width, height, SQUARE)
            return side, side
        return max(1, round(self.cut[1] * width)), max(1, round(self.cut[0] * height))


SQUARE = 512
"""Largest side in pixels of the squares that segmentation is trained on."""
AUGMENTATIONS: dict[Task, Augmentation] = {
    "depth": Augmentation(turn_deg=2.5, cut=(416 / 480, 544 / 640), recoloured=True),
    "normals": Augmentation(turn_deg=10.0, cut=(1.0, 1.0), recoloured=True),
    "segmentation": Augmentation(scales=(0.5, 2.0), recoloured=True),
}


@dataclass(frozen=True)
class Cut:
    """One random view of a picture: what is cut out, and how it lies.

    Attributes:
        size: (width, height) of what is cut out.
        centre: pixel of the picture in its middle.
        scale: pixels of the cut per pixel of the picture.
        flipped: whether left and right are exchanged (before turning).
        angle_deg: how far it is turned clockwise.
    """

    size: tuple[int, int]
    centre: tuple[float, float]
    scale: float = 1.0
    flipped: bool = False
    angle_deg: float = 0.0

    def positions(self) -> Float[Tensor, "H W 2"]:
        """Pixels (x, y) of the picture that the centres of the cut's pixels show."""
        width, height = self.size
        y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        x, y = (x - width / 2) / self.scale, (y - height / 2) / self.scale
        cosine, sine = math.cos(math.radians(self.angle_deg)), math.sin(math.radians(self.angle_deg))
        x, y = cosine * x + sine * y, -sine * x + cosine * y
        return torch.stack([(-x if self.flipped else x) + self.centre[0], y + self.centre[1]], dim=-1)

    def of(self, pixels: Float[Tensor, "h w c"], *, nearest: bool) -> Float[Tensor, "H W c"]:
        """What it shows of a picture: interpolated, or the value of the nearest pixel; 0 outside."""
        height, width = pixels.shape[:2]
        grid = self.positions() / torch.tensor([width, height]) * 2 - 1
        taken = grid_sample(
            pixels.movedim(-1, 0)[None], grid[None].to(pixels), mode="nearest" if nearest else "bilinear",
            padding_mode="zeros", align_corners=False,
        )  # fmt: skip
        return taken[0].movedim(0, -1)


def random_cut(
    augmentation: Augmentation, picture: tuple[int, int], size: tuple[int, int], generator: torch.Generator
) -> Cut:
    """A cut of `size` from a picture of that size (both width, height), which covers as little outside as it can."""
    draw = torch.rand(6, generator=generator).tolist()
    low, high = augmentation.scales
    scale = low + (high - low) * draw[0]
    if augmentation.cut is None:
        scale *= size[1] / min(picture)
    centre = []
    for side, length, share in zip(size, picture, draw[1:3], strict=True):
        half = side / (2 * scale)
        centre.append(half + share * (length - 2 * half) if length > 2 * half else length / 2)
    turned = draw[3] < 0.5
    angle = augmentation.turn_deg * (2 * draw[4] - 1) if turned else 0.0
    return Cut(size, (centre[0], centre[1]), scale, draw[5] < 0.5, angle)


def recoloured(image: Float[Tensor, "h w 3"], generator: torch.Generator) -> Float[Tensor, "h w 3"]:
    """Every second time with another gamma (0.9–1.1), brightness (0.75–1.25) and balance of colours (0.9–1.1)."""
    draw = torch.rand(6, generator=generator)
    if draw[0] < 0.5:
        return image
    balance = (0.75 + 0.5 * draw[2]) * (0.9 + 0.2 * draw[3:6])
    return (image.clamp(0, 1) ** float(0.9 + 0.2 * draw[1]) * balance.to(image)).clamp(0, 1)


def augmented(
    sample: ProbeSample,
    task: DenseTask,
    augmentation: Augmentation,
    size: tuple[int, int],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "H W 3"], Tensor, Bool[Tensor, "H W"]]:
    """A random view of a sample, its truth (H W …) and which of it is valid."""
    cut = random_cut(augmentation, sample.size, size, generator)
    image = cut.of(sample.read_image(), nearest=False)
    truth, valid = task.truth(sample)
    shape, kind = truth.shape, truth.dtype
    taken = cut.of(truth.float().reshape(*shape[:2], -1), nearest=True)
    taken = taken.reshape(size[1], size[0], *shape[2:]).to(kind)
    if cut.flipped:
        taken = task.mirrored(taken)
    taken = task.turned(taken, cut.angle_deg)
    shown = cut.of(valid.float()[..., None], nearest=True)[..., 0] > 0.5
    return recoloured(image, generator) if augmentation.recoloured else image, taken, shown
