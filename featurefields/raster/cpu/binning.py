"""Depth order and tile lists.

Letters: v visible Gaussians · s spans · t tiles. Visible Gaussians are sorted once by depth (stable, so that ties
keep their index order); every tile then lists, in that order, the ones whose ellipse can touch it.
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
    piece,
)
from featurefields.simd import load_one, prefetch, store_one

f4 = np.float32

SPAN = 3
"""A span is a rank and the first and last tile it touches in one row of tiles."""

DIGIT = 11
"""Bits of one pass of the radix sort."""


@piece
def scatter_by_digit(keys, places, shift, histogram, keys_out, places_out):
    """One stable counting pass by the bits from `shift` on; histogram (2048) holds the counts."""
    total = 0
    for bucket in range(1 << DIGIT):
        size = load_one(histogram, bucket)
        store_one(histogram, bucket, total)
        total += size
    for i in range(keys.shape[0]):
        key = load_one(keys, i)
        bucket = np.int64((key >> np.uint32(shift)) & np.uint32((1 << DIGIT) - 1))
        place = load_one(histogram, bucket)
        store_one(histogram, bucket, place + 1)
        store_one(keys_out, place, key)
        store_one(places_out, place, load_one(places, i))


@kernel
def sort_by_depth(keys, places, keys_back, places_back):
    """Stable radix sort of uint32 keys (v) with their int32 places (v). Returns the sorted places.

    All four arrays are written to. The sort runs over the bits in which the keys differ.
    """
    count = keys.shape[0]
    least, most = np.uint32(0xFFFFFFFF), np.uint32(0)
    for i in range(count):
        least, most = min(least, keys[i]), max(most, keys[i])
    histogram = np.zeros(3 << DIGIT, np.int32)
    low = np.uint32((1 << DIGIT) - 1)
    for i in range(count):
        key = keys[i] - least
        keys[i] = key
        for digit in range(3):
            bucket = np.int64((key >> np.uint32(DIGIT * digit)) & low) + (digit << DIGIT)
            store_one(histogram, bucket, load_one(histogram, bucket) + 1)
    span = most - least if count else np.uint32(0)
    passes = 0
    while passes < 3 and (span >> np.uint32(DIGIT * passes)) > 0:
        counts = histogram[passes << DIGIT : (passes + 1) << DIGIT]
        if passes % 2 == 0:
            scatter_by_digit(keys, places, DIGIT * passes, counts, keys_back, places_back)
        else:
            scatter_by_digit(keys_back, places_back, DIGIT * passes, counts, keys, places)
        passes += 1
    return places_back if passes % 2 else places


@piece
def tile_rows(ellipse, at, height):
    """First and last pixel row whose centre the ellipse can touch (first > last: none)."""
    mean, extent = load_one(ellipse, at + MEAN_Y), load_one(ellipse, at + EXTENT_Y)
    return max(f4(0), np.ceil(mean - extent - f4(0.501))), min(
        f4(height - 1), np.floor(mean + extent - f4(0.499))
    )


@piece
def box_columns(ellipse, at, width):
    """First and last pixel column that the ellipse's bounding box touches."""
    mean, extent = load_one(ellipse, at + MEAN_X), load_one(ellipse, at + EXTENT_X)
    return max(f4(0), np.ceil(mean - extent - f4(0.501))), min(
        f4(width - 1), np.floor(mean + extent - f4(0.499))
    )


@piece
def tile_columns(ellipse, at, level, tile_y, y0, y1, width):
    """First and last pixel column that the ellipse touches within one row of tiles.

    Exact: the ellipse {a dx^2 + b dx dy + c dy^2 <= level} is convex, so its horizontal extent over a band of
    rows is reached at its leftmost and rightmost points, moved to the band's nearest edge when outside it.
    """
    a, b, c = (
        load_one(ellipse, at + CONIC_A),
        load_one(ellipse, at + CONIC_B),
        load_one(ellipse, at + CONIC_C),
    )
    mean_x, mean_y = load_one(ellipse, at + MEAN_X), load_one(ellipse, at + MEAN_Y)
    shear = f4(0.5) * b / a
    squeeze = (a * c - f4(0.25) * b * b) / (a * a)
    radius = level / a
    turning = -b * load_one(ellipse, at + EXTENT_X) / (f4(2) * c)
    low = max(f4(tile_y * TILE), y0) + f4(0.5) - mean_y
    high = min(f4(tile_y * TILE + TILE - 1), y1) + f4(0.5) - mean_y
    right_dy, left_dy = min(high, max(low, turning)), min(high, max(low, -turning))
    right = -shear * right_dy + np.sqrt(max(f4(0), radius - right_dy * right_dy * squeeze))
    left = -shear * left_dy - np.sqrt(max(f4(0), radius - left_dy * left_dy * squeeze))
    return (
        max(f4(0), np.ceil(mean_x + left - f4(0.501))),
        min(f4(width - 1), np.floor(mean_x + right - f4(0.499))),
    )


@kernel
def list_spans(
    rows, places, indices, log2_alpha_min, first, last, width, height, tiles_x, ordered, order, counts
):
    """Gather ranks first..last-1 in depth order (ordered v 8, order v) and find the tiles that each touches.

    rows (v 8) and indices (v) are read by places (v). Returns spans (s 3); counts (t) gets their tiles added.
    """
    table, out = rows.reshape(-1), ordered.reshape(-1)
    total = 0
    for rank in range(first, last):
        prefetch(table, np.int64(places[min(rank + 12, last - 1)]) * PROJECTED)
        place, at = np.int64(places[rank]), rank * PROJECTED
        order[rank] = indices[place]
        for k in range(PROJECTED):
            store_one(out, at + k, load_one(table, place * PROJECTED + k))
        y0, y1 = tile_rows(out, at, height)
        if y0 <= y1:
            total += int(y1) // TILE - int(y0) // TILE + 1
    spans = np.empty(total * SPAN, np.int32)
    found = 0
    for rank in range(first, last):
        at = rank * PROJECTED
        y0, y1 = tile_rows(out, at, height)
        box0, box1 = box_columns(out, at, width)
        if y0 > y1 or box0 > box1:
            continue
        level = load_one(out, at + LOG2_OPACITY) - log2_alpha_min
        top, bottom = int(y0) // TILE, int(y1) // TILE
        whole = (
            top == bottom or int(box0) // TILE == int(box1) // TILE
        )  # then the box is as good as the ellipse
        for tile_y in range(top, bottom + 1):
            x0, x1 = box0, box1
            if not whole:
                x0, x1 = tile_columns(out, at, level, tile_y, y0, y1, width)
                if x0 > x1:
                    continue
            left, right = tile_y * tiles_x + int(x0) // TILE, tile_y * tiles_x + int(x1) // TILE
            store_one(spans, found, rank)
            store_one(spans, found + 1, left)
            store_one(spans, found + 2, right)
            found += SPAN
            for tile in range(left, right + 1):
                store_one(counts, tile, load_one(counts, tile) + 1)
    return spans[:found]


@kernel
def fill_tiles(spans, cursor, members):
    """Append every span's rank to the lists of its tiles, which start at cursor (t)."""
    for at in range(0, spans.shape[0], SPAN):
        rank = load_one(spans, at)
        for tile in range(np.int64(load_one(spans, at + 1)), np.int64(load_one(spans, at + 2)) + 1):
            place = load_one(cursor, tile)
            store_one(members, place, rank)
            store_one(cursor, tile, place + 1)


@kernel
def offsets(counts, starts, shares):
    """From counts (threads t) to where each thread writes (in place), where tiles start, and balanced tile ranges."""
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
