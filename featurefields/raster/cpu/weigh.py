"""The kernel that makes the contribution matrix W of a picture, block by block.

Letters: v visible Gaussians · t tiles · e entries.

A block is 4 x 4 pixels, one vector. Per block, the tile's Gaussians are tested sixteen at a time against the
block's rectangle (exactly: the least value of the quadratic form over it); those that touch it are composited front
to back with the transmittance in a register. Every one that leaves a weight becomes an entry: its rank and the
weights at the 16 pixels. Drawing, lifting and differentiating are products with these entries.
"""

import numpy as np

from featurefields.raster.cpu.blocks import corner, presence, write_plane
from featurefields.raster.cpu.kernels import (
    ALPHA_MAX,
    BLOCK,
    BLOCKS,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    LOG2_ALPHA_MIN,
    LOG2_OPACITY,
    MEAN_X,
    MEAN_Y,
    PIXELS,
    PROJECTED,
    STOP,
    kernel,
    lane_x,
    lane_y,
    piece,
)
from featurefields.simd import (
    LANES,
    any_lane,
    choose,
    exp2,
    load,
    load_one,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    prefetch,
    spread,
    store,
    store_one,
    subtract_exactly,
)

f4 = np.float32

SLOPE_X, SLOPE_Y, STAGED = 8, 9, 10
"""Columns staged of every member of a tile: the projected ones, -b / 2a and -b / 2c."""

HALF = f4(0.5 * (BLOCK - 1))
"""From a block's middle to its outermost pixel centres."""


@piece
def stage(table, members, first, last, staged, room):
    """Columns of members first..last-1 side by side (10 room), filled up to a multiple of 16 with faint ones."""
    count = last - first
    for j in range(count):
        prefetch(table, np.int64(members[min(first + j + 16, last - 1)]) * PROJECTED)
        at = np.int64(members[first + j]) * PROJECTED
        for column in range(PROJECTED):
            staged[column * room + j] = load_one(table, at + column)
    for j in range(count, -(-count // LANES) * LANES):
        for column in range(PROJECTED):
            staged[column * room + j] = f4(1)
        staged[LOG2_OPACITY * room + j] = f4(-1e30)
    for j in range(0, count, LANES):
        b = load(staged, CONIC_B * room + j) * f4(-0.5)
        store(staged, SLOPE_X * room + j, b / load(staged, CONIC_A * room + j))
        store(staged, SLOPE_Y * room + j, b / load(staged, CONIC_C * room + j))


@piece
def touching(staged, room, j, centre_x, centre_y, threshold):
    """Which of 16 staged members have a point of the block's rectangle inside their ellipse, as bits.

    The least value of a dx^2 + b dx dy + c dy^2 over a rectangle lies on an edge that faces the mean, at the edge's
    own minimum moved into the edge.
    """
    a, b, c = (
        load(staged, CONIC_A * room + j),
        load(staged, CONIC_B * room + j),
        load(staged, CONIC_C * room + j),
    )
    x = centre_x - load(staged, MEAN_X * room + j)
    y = centre_y - load(staged, MEAN_Y * room + j)
    low_x, high_x, low_y, high_y = x - HALF, x + HALF, y - HALF, y + HALF
    near_x, near_y = maximum(low_x, minimum(high_x, f4(0))), maximum(low_y, minimum(high_y, f4(0)))
    along_y = maximum(low_y, minimum(high_y, load(staged, SLOPE_Y * room + j) * near_x))
    along_x = maximum(low_x, minimum(high_x, load(staged, SLOPE_X * room + j) * near_y))
    square_x, square_y = a * near_x * near_x, c * near_y * near_y
    facing_x = square_x + along_y * (b * near_x + c * along_y)
    facing_y = square_y + along_x * (b * near_y + a * along_x)
    slack = (square_x + square_y) * f4(2e-6) + f4(1e-3)  # rounding of long needles
    level = load(staged, LOG2_OPACITY * room + j) - threshold
    return mask_bits(minimum(facing_x, facing_y) <= level + slack)


@piece
def list_hits(staged, room, count, centre_x, centre_y, threshold, words, hits):
    """Which of the staged members touch the block, in order, into hits; returns how many.

    All tests first, then all lists: a branch that is guessed wrong does not hold up arithmetic.
    """
    for word in range(-(-count // 64)):
        bits = 0
        for quarter in range(4):
            j = word * 64 + quarter * LANES
            if j < count:
                bits |= touching(staged, room, j, centre_x, centre_y, threshold) << (quarter * LANES)
        store_one(words, word, bits)
    found = 0
    for word in range(-(-count // 64)):
        bits = load_one(words, word)
        while bits != 0:
            store_one(hits, found, word * 64 + lowest_bit(bits))
            bits &= bits - 1
            found += 1
    return found


@piece
def weigh_block(
    staged, room, hits, found, members, first, left, top, light, constants, ranks, weights, position
):
    """Append the block's entries from `position`; returns the position behind them.

    light (16): transmittance to start with, 0 outside the picture.
    """
    threshold, alpha_max, stop = constants
    transmittance = load(light, 0)
    x, y = lane_x() + left, lane_y() + top
    for hit in range(found):
        j = np.int64(load_one(hits, hit))
        dx, dy = x - load_one(staged, MEAN_X * room + j), y - load_one(staged, MEAN_Y * room + j)
        a, b = load_one(staged, CONIC_A * room + j), load_one(staged, CONIC_B * room + j)
        from_x = load_one(staged, LOG2_OPACITY * room + j) - dx * (dx * a)
        exponent = from_x - dy * (dx * b + dy * load_one(staged, CONIC_C * room + j))
        opacity = choose(exponent >= threshold, minimum(exp2(exponent), alpha_max), f4(0))
        weight = transmittance * opacity
        after = subtract_exactly(transmittance, weight)
        goes_on = after > stop
        transmittance = choose(goes_on, after, f4(0))
        store_one(ranks, position, load_one(members, first + j))
        store(weights, position * PIXELS, choose(goes_on, weight, f4(0)))
        position += 1
        if not any_lane(goes_on):
            break
    return position


@piece
def cover(weights, start, position, light):
    """light (16) = sum of the block's weights."""
    total = spread(f4(0))
    for entry in range(start, position):
        total = total + load(weights, entry * PIXELS)
    store(light, 0, total)


@kernel
def weigh_tiles(
    ordered, starts, members, first_tile, last_tile, tiles_x, camera, width, height,
    staged, ranks, weights, lists, alpha,
):  # fmt: skip
    """Entries of tiles first_tile..last_tile-1, as far as there is room for them.

    staged (10 room), room a multiple of 16 and at least the members of any tile. ranks (e), weights (e 16) are
    filled; lists (16 t + 1) gets where every block's entries start; alpha (h w) the coverage.
    Returns the first tile that was not done.
    """
    room = staged.shape[0] // STAGED
    table, values, plane = ordered.reshape(-1), weights.reshape(-1), alpha.reshape(-1)
    constants = (camera[LOG2_ALPHA_MIN], camera[ALPHA_MAX], camera[STOP])
    light = np.empty(PIXELS, f4)
    words, hits = np.empty(room // 64 + 1, np.int64), np.empty(room, np.int32)
    position = 0
    lists[0] = 0
    for tile in range(first_tile, last_tile):
        first, last = starts[tile], starts[tile + 1]
        stage(table, members, first, last, staged, room)
        for block in range(BLOCKS):
            if position + last - first > ranks.shape[0]:
                return tile
            left, top = corner(tile, tiles_x, block)
            if left < width and top < height:
                presence(left, top, width, height, light)
                x, y, start = f4(left), f4(top), position
                middle = f4(0.5 * BLOCK)
                found = list_hits(
                    staged, room, last - first, x + middle, y + middle, constants[0], words, hits
                )
                position = weigh_block(
                    staged, room, hits, found, members, first, x, y, light, constants, ranks, values, position
                )
                cover(values, start, position, light)
                write_plane(light, left, top, width, height, plane)
            lists[(tile - first_tile) * BLOCKS + block + 1] = position
    return last_tile
