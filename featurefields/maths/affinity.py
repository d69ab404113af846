"""How different neighbours on surfaces are, and averages over those that are alike.

Letters: n nodes · e edges · d feature dimension · a arcs (edges in both directions).

Compiled loops over arrays; memory is linear in nodes and edges.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from featurefields.threads import run_parallel, share, thread_count

_kernel = njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


def angular_differences(first: Ints, second: Ints, units: Singles) -> Floats:
    """sqrt(1 - cos) of two neighbours' unit features (e, from n d), 0 for the same direction."""
    found, parts = np.empty(len(first)), thread_count()
    run_parallel(lambda part: _turn(first, second, units, found, *share(len(first), part, parts)), parts)
    return found


def surface_differences(
    first: Ints,
    second: Ints,
    colours: Singles,
    normals: Singles,
    means: Singles,
    weights: tuple[float, float, float],
) -> Floats:
    """How different the surfaces of two neighbours (first, second: e) are that lie at `means` (n 3).

    weights: of the distance of their colours (n 3), and of how far their unit normals (n 3) turn towards each other and
    away from each other along the line between them.
    """
    found, parts = np.empty(len(first)), thread_count()

    def run(part: int) -> None:
        _differ(first, second, colours, normals, means, weights, found, *share(len(first), part, parts))

    run_parallel(run, parts)
    return found


def averaged(
    values: Singles, first: Ints, second: Ints, likeness: Floats, size: Floats, *, rounds: int
) -> Singles:
    """Values (n d) averaged over neighbours (first, second: e), again and again.

    In every round a node takes the mean of its own value and its neighbours', which count by their size (n) and by
    their likeness with it (e, 0..1).
    """
    starts, ends, weights = _arcs(first, second, likeness, size)
    parts = thread_count()
    for _ in range(rounds):
        given, values = values, np.empty_like(values)
        run_parallel(
            lambda part, given=given, into=values: _average(
                given, starts, ends, weights, size, into, *share(len(given), part, parts)
            ),
            parts,
        )
    return values


@_kernel
def _turn(first: Ints, second: Ints, units: Singles, found: Floats, start: int, stop: int) -> None:
    for e in range(start, stop):
        a, b, cosine = first[e], second[e], np.float32(0.0)
        for j in range(units.shape[1]):
            cosine += units[a, j] * units[b, j]
        found[e] = np.sqrt(max(0.0, 1.0 - cosine))


@_kernel
def _differ(
    first: Ints,
    second: Ints,
    colours: Singles,
    normals: Singles,
    means: Singles,
    weights: tuple[float, float, float],
    found: Floats,
    start: int,
    stop: int,
) -> None:
    for e in range(start, stop):
        a, b = first[e], second[e]
        hue, bend, length = 0.0, 0.0, 0.0
        for j in range(3):
            hue += (colours[a, j] - colours[b, j]) ** 2
            step = means[b, j] - means[a, j]
            bend += (normals[b, j] - normals[a, j]) * step
            length += step * step
        bend /= max(np.sqrt(length), 1e-12)
        found[e] = weights[0] * np.sqrt(hue) + weights[1] * max(0.0, -bend) + weights[2] * max(0.0, bend)


@_kernel
def _arcs(first: Ints, second: Ints, likeness: Floats, size: Floats) -> tuple[Ints, Ints, Singles]:
    """Where every node's arcs start (n + 1), where they lead (a), and how much that counts (a)."""
    starts = np.zeros(len(size) + 1, np.int64)
    for e in range(len(first)):
        starts[first[e] + 1] += 1
        starts[second[e] + 1] += 1
    for i in range(len(size)):
        starts[i + 1] += starts[i]
    ends, weights = np.empty(2 * len(first), np.int64), np.empty(2 * len(first), np.float32)
    cursor = starts[:-1].copy()
    for e in range(len(first)):
        for a, b in ((first[e], second[e]), (second[e], first[e])):
            ends[cursor[a]], weights[cursor[a]] = b, likeness[e] * size[b]
            cursor[a] += 1
    return starts, ends, weights


@_kernel
def _average(
    values: Singles,
    starts: Ints,
    ends: Ints,
    weights: Singles,
    size: Floats,
    found: Singles,
    start: int,
    stop: int,
) -> None:
    for i in range(start, stop):
        total = np.float32(size[i])
        for j in range(values.shape[1]):
            found[i, j] = total * values[i, j]
        for k in range(starts[i], starts[i + 1]):
            other, weight = ends[k], weights[k]
            total += weight
            for j in range(values.shape[1]):
                found[i, j] += weight * values[other, j]
        for j in range(values.shape[1]):
            found[i, j] /= max(total, np.float32(1e-30))
