"""Multi-view correspondence: points of one picture looked for in another by their features (Probe3D).

Letters: m k points · d token dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from featurefields.evaluation.heldout import mean
from featurefields.evaluation.probes.pairs import ROTATION_BINS_DEG, DepthPoints, Pair
from featurefields.evaluation.probes.tokens import tokens_of
from featurefields.vision.cache import FeatureMaps
from featurefields.vision.grids import sample

THRESHOLDS_PX = (5.0, 10.0, 20.0)
"""Errors below which a match counts, in pixels of the resolution at which pictures are matched."""
BINNED_PX = 10.0
"""The threshold of the recall by rotation."""
THRESHOLDS_M = (0.01, 0.02, 0.05)
"""Distances in the scene below which a match counts (metres)."""
TINY = 1e-9
CHUNK = 1 << 24
"""Similarities that are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """How pictures are matched.

    Attributes:
        longest_side: pixels of the longer side at which pictures are matched; each pixel with depth is a point.
        queries: points of the first picture that are looked for; None for all.
        kept: share of them that is kept, those that the ratio test is surest of.
        pairs_a_bin: pairs of every held-out scene and rotation bin.
    """

    longest_side: int = 80
    queries: int | None = 1500
    kept: float = 1000 / 19_200
    pairs_a_bin: int = 8


OFFICIAL = MatchingConfig(longest_side=160, queries=None, pairs_a_bin=25)
"""Probe3D: 640x480 pictures at a quarter of their size, 1000 matches of 19,200 points kept."""


@dataclass(frozen=True)
class Matches:
    """Points of the first picture and the nearest of the second by cosine, the surest first.

    `first` and `second` index the points; `sureness` is 1 - (nearest distance / second nearest distance).
    """

    first: Int[Tensor, "m"]
    second: Int[Tensor, "m"]
    sureness: Float[Tensor, "m"]


def ratio_matches(queries: Float[Tensor, "m d"], targets: Float[Tensor, "k d"], *, kept: int) -> Matches:
    """The `kept` surest matches of queries among targets; distances are 1 - cosine.

    Equal sureness is decided by the order of the queries. There must be two targets at least.
    """
    a, b = normalize(queries, dim=-1), normalize(targets, dim=-1).T
    nearest, index = [], []
    for rows in a.split(max(1, CHUNK // max(1, b.shape[1]))):
        cosine, place = (rows @ b).topk(2, dim=-1)
        nearest.append(1 - cosine)
        index.append(place[:, 0])
    distance = torch.cat(nearest).clamp(min=TINY)
    sureness = 1 - distance[:, 0] / distance[:, 1]
    best = sureness.argsort(descending=True, stable=True)[:kept]
    return Matches(best, torch.cat(index)[best], sureness[best])


@dataclass(frozen=True)
class PairRecall:
    """One pair: share of its kept matches below every threshold, and how many there are."""

    pair: Pair
    pixels: tuple[float, ...]
    metres: tuple[float, ...]
    every: tuple[float, ...]
    matches: int


def match_pair(
    pair: Pair,
    points: dict[str, DepthPoints],
    maps: FeatureMaps,
    config: MatchingConfig,
    generator: torch.Generator,
) -> PairRecall | None:
    """Match two pictures; None where either has fewer than two points.

    The error of a match is the distance between where the first point is in the second picture and the point it was
    matched with: in pixels there, and in metres. Points that the second picture does not see count as well.
    """
    first, second = points[pair.first], points[pair.second]
    if min(len(first.world), len(second.world)) < 2:
        return None
    chosen = torch.arange(len(first.world))
    if config.queries is not None and config.queries < len(chosen):
        chosen = torch.randperm(len(chosen), generator=generator)[: config.queries].sort().values
    queries = sample(tokens_of(maps, pair.first), first.pixels[chosen], first.camera.size)
    targets = sample(tokens_of(maps, pair.second), second.pixels, second.camera.size)
    matches = ratio_matches(queries, targets, kept=len(chosen))
    world = first.world[chosen][matches.first]
    error_px = (second.projected(world) - second.pixels[matches.second]).norm(dim=-1)
    error_m = (world - second.world[matches.second]).norm(dim=-1)
    kept = max(1, round(config.kept * len(chosen)))
    return PairRecall(
        pair,
        tuple(_below(error_px[:kept], limit) for limit in THRESHOLDS_PX),
        tuple(_below(error_m[:kept], limit) for limit in THRESHOLDS_M),
        tuple(_below(error_px, limit) for limit in THRESHOLDS_PX),
        kept,
    )


def match_pairs(
    pairs: Sequence[Pair],
    points: dict[str, DepthPoints],
    maps: FeatureMaps,
    config: MatchingConfig,
    seed: int,
    *,
    on_pair: Callable[[], object] = lambda: None,
) -> tuple[PairRecall, ...]:
    """Every pair; the seed draws the queries, for each pair by itself, so that the order of pairs does not matter."""
    found = []
    for pair in pairs:
        recall = match_pair(pair, points, maps, config, torch.Generator().manual_seed(seed))
        if recall is not None:
            found.append(recall)
        on_pair()
    return tuple(found)


def recall_numbers(found: Sequence[PairRecall]) -> dict[str, float]:
    """Means over pairs: recall at 5, 10, 20 px, by rotation, in metres, and without the ratio test."""
    numbers: dict[str, float] = {}
    for place, limit in enumerate(THRESHOLDS_PX):
        numbers[f"recall {limit:g}px"] = mean([recall.pixels[place] for recall in found])
    binned = THRESHOLDS_PX.index(BINNED_PX)
    for bin, (low, high) in enumerate(pairwise(ROTATION_BINS_DEG)):
        inside = [recall.pixels[binned] for recall in found if recall.pair.bin == bin]
        if inside:
            numbers[f"recall {BINNED_PX:g}px at {low:g}-{high:g}°"] = mean(inside)
    for place, limit in enumerate(THRESHOLDS_M):
        numbers[f"recall {100 * limit:g}cm"] = mean([recall.metres[place] for recall in found])
    for place, limit in enumerate(THRESHOLDS_PX):
        numbers[f"recall {limit:g}px of all points"] = mean([recall.every[place] for recall in found])
    return numbers


def _below(errors: Float[Tensor, "m"], limit: float) -> float:
    return float((errors < limit).double().mean())
