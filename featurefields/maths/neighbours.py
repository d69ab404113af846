"""Nearest neighbours of points.

Letters: n points · m places · k neighbours.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import KDTree
from torch import Tensor

_kernel = njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)


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
    order = KDTree(array).indices  # neighbours in space become neighbours in memory: more than twice as fast
    ordered = array[order]
    found_distance, found = KDTree(ordered, leafsize=16).query(ordered, k=k + 1, workers=-1)
    distance, index = np.empty_like(found_distance), np.empty_like(found)
    distance[order], index[order] = found_distance, order[found]
    own = index == np.arange(len(array))[:, None]
    own[~own.any(1), -1] = True  # among many duplicates the point itself may not be listed: drop the farthest
    distance, index = distance[~own].reshape(-1, k), index[~own].reshape(-1, k)
    return torch.from_numpy(distance).to(points), torch.from_numpy(index).to(points.device)


def nearest_to(
    places: Float[Tensor, "m 3"], points: Float[Tensor, "n 3"], k: int
) -> tuple[Float[Tensor, "m k"], Int[Tensor, "m k"]]:
    """Distances to and indices of the k points nearest to every place (k is cut to n), nearest first."""
    k = max(1, min(k, len(points)))
    array = (tensor.detach().cpu().double().numpy() for tensor in (points, places))
    distance, index = KDTree(next(array), leafsize=16).query(next(array), k=k, workers=-1)
    distance, index = (np.asarray(table).reshape(len(places), k) for table in (distance, index))
    return torch.from_numpy(distance).to(points), torch.from_numpy(index.astype(np.int64)).to(points.device)


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
    return _pairs(*(table.cpu().numpy() for table in (index, distance.double(), close)))


@_kernel
def _pairs(
    index: NDArray[np.int64], distance: NDArray[np.float64], close: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Every pair of a row and one of its neighbours (n k) that is `close`, once: by the smaller one where both are."""
    n, k = index.shape
    low, high = np.empty(n * k, np.int64), np.empty(n * k, np.int64)
    apart, found = np.empty(n * k, np.float64), 0
    for i in range(n):
        for a in range(k):
            j, known = index[i, a], not close[i, a]
            if j < i:
                for b in range(k):
                    known = known or (index[j, b] == i and close[j, b])
            if not known:
                low[found], high[found], apart[found] = min(i, j), max(i, j), distance[i, a]
                found += 1
    return low[:found].copy(), high[:found].copy(), apart[:found].copy()
