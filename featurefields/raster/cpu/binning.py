"""Depth order and tile lists.

Letters: n Gaussians · v visible ones · t threads. Visible Gaussians are sorted once by depth (stable, so that
ties keep their index order); every tile then lists, in that order, the ones whose ellipse can touch it.
"""

import numpy as np

from featurefields.raster.cpu.kernels import (
    CONIC_A,
    CONIC_B,
    CONIC_C,
    EXTENT_X,
    EXTENT_Y,
    LOG2_OPACITY,
    MEAN_X,
    MEAN_Y,
    PROJECTED,
    TILE,
    kernel,
)

f4 = np.float32


@kernel
def sort_by_depth(keys, order, keys_back, order_back):
    """Stable radix sort (3 passes of 11 bits) of uint32 keys with their int32 payload, in place."""
    count = keys.shape[0]
    histogram = np.zeros((3, 2048), np.int64)
    for i in range(count):
        for digit in range(3):
            histogram[digit, (keys[i] >> np.uint32(11 * digit)) & np.uint32(2047)] += 1
    for digit in range(3):
        total = 0
        for bucket in range(2048):
            size = histogram[digit, bucket]
            histogram[digit, bucket] = total
            total += size
        for i in range(count):
            bucket = (keys[i] >> np.uint32(11 * digit)) & np.uint32(2047)
            place = histogram[digit, bucket]
            histogram[digit, bucket] += 1
            keys_back[place], order_back[place] = keys[i], order[i]
        for i in range(count):
            keys[i], order[i] = keys_back[i], order_back[i]


@kernel
def compact(projected, order, first, last, ordered):
    """Rows first..last-1 of the projected Gaussians in depth order."""
    for rank in range(first, last):
        for k in range(PROJECTED):
            ordered[rank, k] = projected[order[rank], k]


@kernel
def tile_rows(ellipse, height):
    """First and last pixel row whose centre the ellipse can touch (first > last: none)."""
    y0 = max(f4(0), np.ceil(ellipse[MEAN_Y] - ellipse[EXTENT_Y] - f4(0.501)))
    y1 = min(f4(height - 1), np.floor(ellipse[MEAN_Y] + ellipse[EXTENT_Y] - f4(0.499)))
    return y0, y1


@kernel
def tile_columns(ellipse, level, tile_y, y0, y1, width):
    """First and last pixel column that the ellipse touches within one row of tiles.

    Exact: the ellipse {a dx^2 + b dx dy + c dy^2 <= level} is convex, so its horizontal extent over a band of
    rows is reached at its leftmost and rightmost points, moved to the band's nearest edge when outside it.
    """
    a, b, c = ellipse[CONIC_A], ellipse[CONIC_B], ellipse[CONIC_C]
    shear = f4(0.5) * b / a
    squeeze = (a * c - f4(0.25) * b * b) / (a * a)
    radius = level / a
    turning = -b * ellipse[EXTENT_X] / (f4(2) * c)
    low = max(f4(tile_y * TILE), y0) + f4(0.5) - ellipse[MEAN_Y]
    high = min(f4(tile_y * TILE + TILE - 1), y1) + f4(0.5) - ellipse[MEAN_Y]
    right_dy, left_dy = min(high, max(low, turning)), min(high, max(low, -turning))
    right = -shear * right_dy + np.sqrt(max(f4(0), radius - right_dy * right_dy * squeeze))
    left = -shear * left_dy - np.sqrt(max(f4(0), radius - left_dy * left_dy * squeeze))
    return (
        max(f4(0), np.ceil(ellipse[MEAN_X] + left - f4(0.501))),
        min(f4(width - 1), np.floor(ellipse[MEAN_X] + right - f4(0.499))),
    )


@kernel
def list_tiles(ordered, log2_alpha_min, first, last, width, height, tiles_x, cursor, members, count_only):
    """Walk over the tiles of Gaussians first..last-1: count them in `cursor` (tiles), or append to `members`."""
    for rank in range(first, last):
        ellipse = ordered[rank]
        level = ellipse[LOG2_OPACITY] - log2_alpha_min
        y0, y1 = tile_rows(ellipse, height)
        if y0 > y1:
            continue
        for tile_y in range(int(y0) // TILE, int(y1) // TILE + 1):
            x0, x1 = tile_columns(ellipse, level, tile_y, y0, y1, width)
            if x0 > x1:
                continue
            for tile_x in range(int(x0) // TILE, int(x1) // TILE + 1):
                tile = tile_y * tiles_x + tile_x
                if not count_only:
                    members[cursor[tile]] = rank
                cursor[tile] += 1


@kernel
def offsets(counts, starts, shares):
    """From counts (t tiles) to where each thread writes (in place), where tiles start, and balanced tile ranges."""
    threads, tiles = counts.shape
    total = 0
    for tile in range(tiles):
        starts[tile] = total
        for thread in range(threads):
            size = counts[thread, tile]
            counts[thread, tile] = total
            total += size
    starts[tiles] = total
    shares[0], shares[threads] = 0, tiles
    for thread in range(1, threads):
        goal = (total + TILE * tiles) * thread // threads
        tile = shares[thread - 1]
        while tile < tiles and starts[tile] + TILE * tile < goal:
            tile += 1
        shares[thread] = tile
    return total
