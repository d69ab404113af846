"""The forward kernel: composite the tiles' Gaussians front to back, block by block.

Letters: v visible Gaussians · c channels padded to a multiple of 16 · h w pixels · t tiles.

Per block of 4 x 4 pixels the weights of its Gaussians are listed; when the list is full, and at the end, the
list times the channel rows is added to the picture: a small matrix product held in registers.
"""

import numpy as np

from featurefields.raster.cpu.kernels import (
    ALPHA_MAX,
    BLOCK,
    BLOCKS,
    BLOCKS_PER_ROW,
    CONIC_A,
    CONIC_B,
    CONIC_C,
    EXTENT_X,
    EXTENT_Y,
    LOG2_ALPHA_MIN,
    LOG2_OPACITY,
    MEAN_X,
    MEAN_Y,
    PIXELS,
    PROJECTED,
    STOP,
    TILE,
    kernel,
)
from featurefields.simd import (
    any_lane,
    block_add_outer,
    block_load,
    block_store,
    choose,
    constant_vector,
    exp2,
    load,
    load_one,
    minimum,
    prefetch,
    spread,
    store,
)

f4 = np.float32
CAPACITY = 64  # Gaussians a block lists before it is flushed

lane_x = constant_vector([lane % BLOCK + 0.5 for lane in range(PIXELS)])
lane_y = constant_vector([lane // BLOCK + 0.5 for lane in range(PIXELS)])


@kernel
def block_range(mean, extent, origin):
    """First and last block along one axis of a tile that the extent can touch."""
    first = max(0, int(np.floor((mean - extent - f4(0.501) - origin) / f4(BLOCK))))
    last = min(BLOCKS_PER_ROW - 1, int(np.floor((mean + extent - f4(0.499) - origin) / f4(BLOCK))))
    return first, last


@kernel
def start_transmittance(light, block, stride, left, top, width, height):
    """Transmittance 1 in the block's pixels, 0 in those outside the picture. Returns whether any is inside."""
    inside = False
    for lane in range(PIXELS):
        x = left + (block % BLOCKS_PER_ROW) * BLOCK + lane % BLOCK
        y = top + (block // BLOCKS_PER_ROW) * BLOCK + lane // BLOCK
        ok = x < width and y < height
        light[block * stride + lane] = f4(1) if ok else f4(0)
        inside = inside or ok
    return inside


@kernel
def add_products(count, ranks, weights, block, channels, width_c, picture, base):
    """picture[pixel, :] += sum_j weights[j, pixel] * channels[ranks[j], :] for the block's 16 pixels."""
    for chunk in range(0, width_c, 16):
        total = block_load(picture, base + chunk, width_c)
        for j in range(count):
            entry = block * CAPACITY + j
            row = load(channels, np.int64(ranks[entry]) * width_c + chunk)
            total = block_add_outer(total, row, weights, np.int64(entry * PIXELS))
        block_store(picture, base + chunk, width_c, total)


@kernel
def composite_tiles(
    ordered, channels, starts, members, first_tile, last_tile, tiles_x, camera, width, height, image, alpha
):
    """Draw tiles first_tile..last_tile-1 into image (h w c) and alpha (h w)."""
    width_c = channels.shape[1]
    rows, table = channels.reshape(-1), ordered.reshape(-1)
    threshold, alpha_max, stop = camera[LOG2_ALPHA_MIN], camera[ALPHA_MAX], camera[STOP]
    light = np.empty(BLOCKS * PIXELS, f4)
    covered = np.empty(BLOCKS * PIXELS, f4)
    picture = np.empty(BLOCKS * PIXELS * width_c, f4)
    ranks = np.empty(BLOCKS * CAPACITY, np.int32)
    weights = np.empty(BLOCKS * CAPACITY * PIXELS, f4)
    listed = np.empty(BLOCKS, np.int64)
    for tile in range(first_tile, last_tile):
        left, top = (tile % tiles_x) * TILE, (tile // tiles_x) * TILE
        live = 0
        picture[:] = f4(0)
        covered[:] = f4(0)
        for block in range(BLOCKS):
            listed[block] = 0
            if start_transmittance(light, block, PIXELS, left, top, width, height):
                live |= 1 << block
        last = starts[tile + 1]
        for member in range(starts[tile], last):
            prefetch(table, np.int64(members[min(member + 12, last - 1)]) * PROJECTED)
            rank = members[member]
            at = np.int64(rank) * PROJECTED
            mean_x, mean_y = load_one(table, at + MEAN_X), load_one(table, at + MEAN_Y)
            a, b = load_one(table, at + CONIC_A), load_one(table, at + CONIC_B)
            c, log2_opacity = load_one(table, at + CONIC_C), load_one(table, at + LOG2_OPACITY)
            bx0, bx1 = block_range(mean_x, load_one(table, at + EXTENT_X), f4(left))
            by0, by1 = block_range(mean_y, load_one(table, at + EXTENT_Y), f4(top))
            for bx in range(bx0, bx1 + 1):
                dx = lane_x() + (f4(left + bx * BLOCK) - mean_x)
                from_x, cross = log2_opacity - dx * (dx * a), dx * b
                for by in range(by0, by1 + 1):
                    block = by * BLOCKS_PER_ROW + bx
                    if (live >> block) & 1 == 0:
                        continue
                    dy = lane_y() + (f4(top + by * BLOCK) - mean_y)
                    exponent = from_x - dy * (cross + dy * c)
                    touched = exponent >= threshold
                    if not any_lane(touched):
                        continue
                    before = load(light, np.int64(block * PIXELS))
                    opacity = choose(touched, minimum(exp2(exponent), alpha_max), f4(0))
                    weight = before * opacity
                    after = before - weight
                    goes_on = after > stop
                    weight = choose(goes_on, weight, f4(0))
                    after = choose(goes_on, after, f4(0))
                    store(light, np.int64(block * PIXELS), after)
                    store(covered, np.int64(block * PIXELS), load(covered, np.int64(block * PIXELS)) + weight)
                    n = listed[block]
                    entry = block * CAPACITY + n
                    ranks[entry] = rank
                    store(weights, np.int64(entry * PIXELS), weight)
                    n += 1
                    if n == CAPACITY:
                        add_products(
                            n, ranks, weights, block, rows, width_c, picture, block * PIXELS * width_c
                        )
                        n = 0
                    listed[block] = n
                    if not any_lane(after > spread(f4(0))):
                        live &= ~(1 << block)
            if live == 0:
                break
        for block in range(BLOCKS):
            add_products(
                listed[block], ranks, weights, block, rows, width_c, picture, block * PIXELS * width_c
            )
            for lane in range(PIXELS):
                x = left + (block % BLOCKS_PER_ROW) * BLOCK + lane % BLOCK
                y = top + (block // BLOCKS_PER_ROW) * BLOCK + lane // BLOCK
                if x < width and y < height:
                    pixel = block * PIXELS + lane
                    alpha[y, x] = covered[pixel]
                    for k in range(image.shape[2]):
                        image[y, x, k] = picture[pixel * width_c + k]
