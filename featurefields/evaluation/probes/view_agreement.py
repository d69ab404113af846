"""How alike the features of one surface point are in two pictures, region by region.

Reflections leak into features, and move over a surface with the viewer: on metal and gloss the features of one point
agree less than on matte surfaces.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from featurefields.evaluation.heldout import mean
from featurefields.evaluation.probes.pairs import DepthPoints, Pair
from featurefields.evaluation.probes.tokens import tokens_of
from featurefields.readers.probe_sets.interface import ProbeSample
from featurefields.vision.cache import FeatureMaps
from featurefields.vision.grids import sample

MIN_POINTS = 10
"""A region counts in the pairs that share at least so many points of it."""
EVERYTHING = "everything"


@dataclass
class RegionAgreement:
    """Means over pairs of a region."""

    cosines: list[float] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    points: int = 0

    def add(self, cosine: Float[Tensor, "m"], chance: Float[Tensor, "m"]) -> None:
        """Count the shared points of one pair."""
        if len(cosine) >= MIN_POINTS:
            self.cosines.append(float(cosine.mean()))
            self.chances.append(float(chance.mean()))
            self.points += len(cosine)


def agreement_numbers(
    pairs: Sequence[Pair],
    samples: Mapping[str, ProbeSample],
    points: dict[str, DepthPoints],
    maps: FeatureMaps,
    regions: Sequence[str],
) -> tuple[dict[str, float], dict[str, int]]:
    """Agreement of every region that occurs, and its points.

    Two numbers a region: "agreement <region>" is the mean cosine of the features of points that both pictures see, and
    "contrast <region>" is that less the mean cosine of such points with others of the same pair, taken in a fixed
    shuffled order: features that are the same everywhere agree perfectly and have no contrast.
    """
    found = {name: RegionAgreement() for name in (EVERYTHING, *regions)}
    for pair in pairs:
        first, second = points[pair.first], points[pair.second]
        shared = second.sees(first.world)
        if not bool(shared.any()):
            continue
        pixels, world = first.pixels[shared], first.world[shared]
        a = sample(tokens_of(maps, pair.first), pixels, first.camera.size)
        b = sample(tokens_of(maps, pair.second), second.projected(world), second.camera.size)
        cosine = cosine_similarity(a, b, dim=-1)
        shuffled = torch.randperm(len(b), generator=torch.Generator().manual_seed(0))
        chance = cosine_similarity(a, b[shuffled], dim=-1)
        found[EVERYTHING].add(cosine, chance)
        of_points = _regions(samples[pair.first], pixels, first.camera.size)
        for index, name in enumerate(regions if of_points is not None else ()):
            own = of_points == index
            found[name].add(cosine[own], chance[own])
    numbers, counts = {}, {}
    for name, region in found.items():
        if region.cosines:
            agreement, chance = mean(region.cosines), mean(region.chances)
            numbers |= {f"agreement {name}": agreement, f"contrast {name}": agreement - chance}
            counts[f"points {name}"] = region.points
    return numbers, counts


def _regions(sample: ProbeSample, pixels: Float[Tensor, "m 2"], size: tuple[int, int]) -> Tensor | None:
    """Region of every point, by the pixel of the sample in which it lies."""
    if sample.regions is None:
        return None
    regions = sample.read_truth("regions")
    ratio = torch.tensor([sample.size[0] / size[0], sample.size[1] / size[1]])
    cell = (pixels * ratio).long()
    return regions[cell[:, 1], cell[:, 0]]
