"""Connected pieces of a mesh.

Letters: n vertices · m triangles · c pieces.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from featurefields.files.mesh import Mesh


def clusters(mesh: Mesh) -> Int[Tensor, "m"]:
    """The number of the connected piece of every triangle; triangles that share a vertex are connected."""
    corners = mesh.triangles.cpu().numpy()
    count = len(mesh.vertices)
    first = np.concatenate([corners[:, 0], corners[:, 1]])
    second = np.concatenate([corners[:, 1], corners[:, 2]])
    graph = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    of_vertex = connected_components(graph, directed=False)[1]
    return torch.from_numpy(of_vertex[corners[:, 0]].astype(np.int64))


def without_small_clusters(mesh: Mesh, smallest: float) -> tuple[Mesh, int]:
    """The mesh without pieces that have less than `smallest` of the largest one's area; how many there were."""
    if len(mesh.triangles) == 0:
        return mesh, 0
    piece = clusters(mesh)
    areas = torch.zeros(int(piece.max()) + 1, dtype=torch.float64)
    areas.index_add_(0, piece, mesh.areas.double().cpu())
    present = torch.zeros(len(areas), dtype=torch.bool)
    present[piece] = True
    kept = present & (areas >= smallest * areas.max())
    return part_of(mesh, kept[piece]), int((present & ~kept).sum())


def part_of(mesh: Mesh, triangles: Bool[Tensor, "m"]) -> Mesh:
    """Some triangles, and the vertices that they need."""
    chosen = mesh.triangles[triangles]
    needed = torch.zeros(len(mesh.vertices), dtype=torch.bool)
    needed[chosen.flatten()] = True
    number = needed.cumsum(0) - 1
    return Mesh(mesh.vertices[needed], number[chosen], mesh.normals[needed], mesh.colours[needed])
