"""How the kernels are compiled, and the few scalars they share."""

from math import log2

import numpy as np
from numba import njit

from featurefields.simd import GROUP, LANES, constant_vector, load, load_one, store, store_one

# No reassociation: results do not depend on how the compiler groups sums.
_FAST_MATH = {"contract", "nsz", "arcp", "nnan", "ninf", "afn"}

kernel = njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST_MATH, boundscheck=False)
"""Decorator of every kernel: compiled once, kept on disk, runs without the interpreter lock."""

piece = njit(nogil=True, error_model="numpy", fastmath=_FAST_MATH, boundscheck=False, forceinline=True)
"""Decorator of what kernels are made of: becomes part of its caller, so that no call counts array references."""

TILE = 16
"""Tiles are TILE x TILE pixels, each of BLOCKS_PER_ROW^2 blocks of 4 x 4 pixels: one block is one vector."""
BLOCK = 4
BLOCKS_PER_ROW = TILE // BLOCK
BLOCKS = BLOCKS_PER_ROW * BLOCKS_PER_ROW
PIXELS = BLOCK * BLOCK
GROUPS = PIXELS // GROUP
"""A block's pixels lie in the order of its 2 x 2 quarters, so that every register group of them is compact."""

_COLUMNS = [lane // 4 % 2 * 2 + lane % 2 for lane in range(PIXELS)]
_ROWS = [lane // 8 * 2 + lane // 2 % 2 for lane in range(PIXELS)]
lane_x = constant_vector([column + 0.5 for column in _COLUMNS])
lane_y = constant_vector([row + 0.5 for row in _ROWS])

LOG2E = np.float32(log2(2.718281828459045))

# Columns of a projected Gaussian. The exponent at offset d from the mean is
# log2_opacity - (a dx^2 + b dx dy + c dy^2), so that opacity there is 2 to that power.
MEAN_X, MEAN_Y, CONIC_A, CONIC_B, CONIC_C, LOG2_OPACITY, EXTENT_X, EXTENT_Y = range(8)
PROJECTED = 8

# Entries of the packed camera and constants (float32).
ROTATION, TRANSLATION, FOCAL, CENTRE, WIDTH, HEIGHT, NEAR, BLUR, MARGIN, LOG2_ALPHA_MIN, ALPHA_MAX, STOP = (
    0, 9, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23,
)  # fmt: skip
CAMERA = 24


@piece
def pixel_of(tile, tiles_x, block, lane):
    """Picture column and row of a lane of a block of a tile."""
    x = (tile % tiles_x) * TILE + (block % BLOCKS_PER_ROW) * BLOCK + ((lane >> 2) & 1) * 2 + (lane & 1)
    y = (tile // tiles_x) * TILE + (block // BLOCKS_PER_ROW) * BLOCK + (lane >> 3) * 2 + ((lane >> 1) & 1)
    return x, y


@piece
def copy_row(source, at, target, place, count):
    """target[place : place + count] = source[at : at + count], flat offsets."""
    whole = count // LANES * LANES
    for k in range(0, whole, LANES):
        store(target, place + k, load(source, at + k))
    for k in range(whole, count):
        store_one(target, place + k, load_one(source, at + k))


@piece
def clear_row(target, place, count):
    """target[place : place + count] = 0, flat offsets."""
    for k in range(count):
        store_one(target, place + k, np.float32(0))
