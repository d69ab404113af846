"""How the kernels are compiled, and the few scalars they share."""

from math import log2

import numpy as np
from numba import njit

from featurefields.simd import GROUP, constant_vector

# No reassociation: results do not depend on how the compiler groups sums.
_FAST_MATH = {"contract", "nsz", "arcp", "nnan", "ninf", "afn"}

_COMMON = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": _FAST_MATH,
    "boundscheck": False,
    "no_cfunc_wrapper": True,
}

kernel = njit(cache=True, **_COMMON)
"""Decorator of every kernel: compiled once, kept on disk, runs without the interpreter lock."""

piece = njit(forceinline=True, no_cpython_wrapper=True, **_COMMON)
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
