"""A vector of 16 floats for numba kernels, and register groups of them."""

from featurefields.simd.functions import (
    add_lane_sums,
    any_lane,
    choose,
    constant_vector,
    exp2,
    lane_sum,
    load,
    load_one,
    log2,
    lowest_bit,
    mask_bits,
    maximum,
    minimum,
    prefetch,
    prefetch_far,
    spread,
    spread_bits,
    square_root,
    store,
    store_one,
    subtract_exactly,
)
from featurefields.simd.groups import (
    BATCH,
    GROUP,
    batch_zero,
    group_add_columns,
    group_add_gathered,
    group_add_outer,
    group_scatter_add,
    group_store,
    group_zero,
    load_offsets,
    transpose_store,
)
from featurefields.simd.vector import HALF, LANES, doubles, mask, vector
