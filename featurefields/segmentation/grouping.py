"""Threshold and connectivity at once.

Letters: n Gaussians · k neighbours.

Every Gaussian is given the best path to the clicked ones over its nearest neighbours, a path being as good as the
worst score on it. "Path score >= t" is then the connected part of "score >= t" that contains the click, for every
t at once. As t falls the part grows; inside an object slowly, and suddenly where it runs over into the next. The
automatic threshold is the widest range of t over which the part changes least.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from featurefields.maths.neighbours import nearest
from featurefields.splats import Splats

NEIGHBOURS = 10
REACH = 3.0
"""Neighbours farther apart than this many of their extents do not touch."""


def path_scores(splats: Splats, score: Float[Tensor, "n"], seeds: Bool[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Best over paths to a seed of the worst score on the path; -1 where no path leads. Seeds keep their score.

    Among all paths the best worst score is found on the maximum spanning tree of edges weighted by the lower score
    of their ends. Time n log n, memory n k.
    """
    n = len(splats)
    values = score.detach().cpu().double().numpy()
    distance, index = nearest(splats.means, NEIGHBOURS)
    extent = splats.scales.amax(-1)
    close = distance <= REACH * torch.maximum(extent[:, None], extent[index]).clamp(min=1e-9)
    close[:, 0] = True
    rows = torch.arange(n)[:, None].expand_as(index)[close.cpu()].cpu().numpy()
    columns = index[close].cpu().numpy()
    seed_rows = seeds.nonzero().squeeze(-1).cpu().numpy()
    rows, columns = np.concatenate([rows, np.full(len(seed_rows), n)]), np.concatenate([columns, seed_rows])
    ends = np.append(values, 1.0)
    cost = 3.0 - np.minimum(ends[rows], ends[columns])  # positive, smallest for the best edge
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    _, unique = np.unique(low * (n + 1) + high, return_index=True)
    graph = coo_array((cost[unique], (low[unique], high[unique])), shape=(n + 1, n + 1)).tocsr()
    tree = minimum_spanning_tree(graph)
    order, parent = breadth_first_order(tree, n, directed=False)
    best = np.full(n + 1, -1.0)
    best[n] = 1.0
    for node in order[1:]:
        best[node] = min(best[parent[node]], values[node])
    return torch.from_numpy(best[:n]).to(score)


def stable_threshold(
    path_score: Float[Tensor, "n"], weight: Float[Tensor, "n"], *, low: float, high: float
) -> float:
    """The middle of the range of thresholds, an eighth of low..high wide, over which the selected weight grows least.

    Growth is measured by ratio. Ranges at whose upper end nothing is selected do not count: nothing never grows.
    `low` when there is no other.
    """
    levels = torch.linspace(high, low, 97, dtype=torch.float64).to(path_score.device)
    order = path_score.double().argsort(descending=True)
    sorted_scores, grown = path_score.double()[order], weight.double()[order].cumsum(0)
    places = torch.searchsorted(-sorted_scores, -levels, right=True)
    sizes = torch.cat([grown.new_zeros(1), grown])[places]
    growth = torch.log(sizes.clamp(min=1e-12))
    width = 12  # levels over which stability is measured
    rise = torch.where(sizes[:-width] > 0, growth[width:] - growth[:-width], torch.inf)
    return float(levels[int(rise.argmin()) + width // 2]) if bool(rise.isfinite().any()) else low
