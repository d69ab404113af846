"""Looking at the contribution matrix W: who is seen at a pixel, and how well every Gaussian is seen.

Letters: v visible Gaussians · t tiles · e entries · h w pixels · k contributors.
"""

import numpy as np

from featurefields.raster.cpu.blocks import corner, lane_place
from featurefields.raster.cpu.kernels import BLOCKS, PIXELS, kernel
from featurefields.simd import (
    choose,
    lane_max,
    lane_sum,
    load,
    load_one,
    spread,
    spread_bits,
    store,
    store_one,
)

f4 = np.float32


@kernel
def rank_tiles(ranks, weights, lists, first_tile, last_tile, tiles_x, width, height, order, ids, values):
    """The k largest weights of every pixel of tiles first_tile..last_tile-1 and the Gaussians (order v) they are of.

    ids, values (h w k), largest first, ties nearest first; entries of pixels with fewer are left as they are.
    """
    count = ids.shape[2]
    flat = weights.reshape(-1)
    best, who = np.empty(count * PIXELS, f4), np.empty(count * PIXELS, f4)
    names = who.view(np.int32)
    for tile in range(first_tile, last_tile):
        for block in range(BLOCKS):
            at = (tile - first_tile) * BLOCKS + block
            for k in range(count):
                store(best, k * PIXELS, spread(f4(0)))
            for entry in range(np.int64(lists[at]), np.int64(lists[at + 1])):
                weight, name = load(flat, entry * PIXELS), spread_bits(load_one(ranks, entry))
                for k in range(count):  # push down what is smaller
                    held, holder = load(best, k * PIXELS), load(who, k * PIXELS)
                    larger = weight > held
                    store(best, k * PIXELS, choose(larger, weight, held))
                    store(who, k * PIXELS, choose(larger, name, holder))
                    weight, name = choose(larger, held, weight), choose(larger, holder, name)
            left, top = corner(tile, tiles_x, block)
            for lane in range(PIXELS):
                x, y = lane_place(lane)
                if left + x < width and top + y < height:
                    for k in range(count):
                        if best[k * PIXELS + lane] > f4(0):
                            ids[top + y, left + x, k] = order[names[k * PIXELS + lane]]
                            values[top + y, left + x, k] = best[k * PIXELS + lane]


@kernel
def measure_tiles(ranks, weights, lists, totals, peaks):
    """Add the chunk's weights to totals (v), and raise peaks (v) to the largest of them."""
    flat = weights.reshape(-1)
    for entry in range(np.int64(lists[-1])):
        rank = np.int64(load_one(ranks, entry))
        weight = load(flat, entry * PIXELS)
        store_one(totals, rank, load_one(totals, rank) + lane_sum(weight))
        store_one(peaks, rank, max(load_one(peaks, rank), lane_max(weight)))
