"""Nearest neighbours of points.

Letters: n points · k neighbours.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor


def nearest(points: Float[Tensor, "n 3"], k: int) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Distances to and indices of the k nearest other points (k is cut to n - 1), nearest first.

    Exact duplicates count as neighbours at distance 0; a point is never its own neighbour.
    """
    array = points.detach().cpu().double().numpy()
    k = max(1, min(k, len(array) - 1))
    if len(array) < 2:
        return points.new_zeros(len(array), 1), torch.zeros(
            len(array), 1, dtype=torch.int64, device=points.device
        )
    distance, index = KDTree(array).query(array, k=k + 1, workers=-1)
    distance, index = np.asarray(distance), np.asarray(index)
    own = index == np.arange(len(array))[:, None]
    own[~own.any(1), -1] = True  # among many duplicates the point itself may not be listed: drop the farthest
    distance, index = distance[~own].reshape(-1, k), index[~own].reshape(-1, k)
    return torch.from_numpy(distance).to(points), torch.from_numpy(index).to(points.device)


def surface_normals(points: Float[Tensor, "n 3"], k: int = 12) -> Float[Tensor, "n 3"]:
    """Unit normals (sign arbitrary): the direction of least spread of each point's k nearest neighbours."""
    _, index = nearest(points, k)
    patch = torch.cat([points[:, None], points[index]], dim=1)
    patch = patch - patch.mean(1, keepdim=True)
    _, vectors = torch.linalg.eigh(torch.einsum("nki,nkj->nij", patch, patch))
    return vectors[..., 0]


def neighbour_pairs(
    points: Float[Tensor, "n 3"], k: int, *, within: Float[Tensor, "n"]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of points, each once as (smaller, larger) index, and their distances.

    A pair is one that touches: either is among the other's k nearest and it is no farther than `within` of either. The
    nearest neighbour of a point is always one.
    """
    distance, index = nearest(points, k)
    reach = torch.maximum(within[:, None], within[index])
    close = distance <= reach
    close[:, 0] = True
    rows = torch.arange(len(points), device=points.device)[:, None].expand_as(index)
    first, second, apart = (x[close].cpu().numpy() for x in (rows, index, distance))
    low, high = np.minimum(first, second), np.maximum(first, second)
    _, unique = np.unique(low.astype(np.int64) * len(points) + high, return_index=True)
    return low[unique], high[unique], apart[unique].astype(np.float64)
