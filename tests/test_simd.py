"""Vectors of numba kernels against numpy: 16 lanes of float32, 8 of float64, and groups of vectors."""

import copy
import operator
import subprocess
import sys
from math import inf
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from featurefields import simd

f4, f8 = np.float32, np.float64
LANES, GROUP, BATCH = simd.LANES, simd.GROUP, simd.BATCH
DTYPES = pytest.mark.parametrize("dtype", [f4, f8])
EDGE = 3
"""Vectors are read and written at offsets that no alignment divides."""

compiled = njit(error_model="numpy")  # not kept on disk, where a changed vector would not be noticed


def lanes_of(dtype: type) -> int:
    return LANES if dtype == f4 else simd.HALF


def numbers(count: int, seed: int, dtype: type = f4, low: float = -3.0, high: float = 3.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, count).astype(dtype)


def assert_only(out: np.ndarray, at: int, wanted: np.ndarray, blank: float = 7.0) -> None:
    """out[at : at + len(wanted)] is `wanted` in all bits, and the rest is as it was."""
    np.testing.assert_array_equal(out[at : at + len(wanted)], wanted)
    assert (np.delete(out, np.s_[at : at + len(wanted)]) == blank).all()


@compiled
def copy_vector(source, at, target, place):
    simd.store(target, place, simd.load(source, at))


@DTYPES
@pytest.mark.parametrize("at", [0, 1, 5])
def test_load_and_store_touch_nothing_else(dtype, at):
    source, out = numbers(40, 1, dtype), np.full(40, 7.0, dtype)
    copy_vector(source, at, out, EDGE)
    assert_only(out, EDGE, source[at : at + lanes_of(dtype)])


@compiled
def copy_one(source, at, target, place):
    simd.store_one(target, place, simd.load_one(source, at))


@pytest.mark.parametrize("dtype", [f4, f8, np.int32, np.int64])
def test_single_elements(dtype):
    source, out = np.arange(10, 20).astype(dtype), np.full(9, 7, dtype)
    copy_one(source, 4, out, 2)
    assert_only(out, 2, np.array([14], dtype), 7)


@pytest.mark.parametrize(
    ("value", "kind", "wanted"), [(2**33 + 5, np.int32, 5), (-1, np.int32, -1), (2.5, f4, 2.5), (3, f4, 3.0)]
)
def test_single_elements_are_cut_to_the_width_of_the_array(value, kind, wanted):
    source, out = np.array([value]), np.full(3, 7, kind)
    copy_one(source, 0, out, 1)
    assert_only(out, 1, np.array([wanted], kind), 7)


def compile_sides(operation):
    """out (5 lanes) = x op y, x op float, float op x, x op int, int op x."""

    @compiled
    def run(x, y, scalar, whole, out, step):
        left, right = simd.load(x, 0), simd.load(y, 0)
        simd.store(out, 0, operation(left, right))
        simd.store(out, step, operation(left, scalar))
        simd.store(out, 2 * step, operation(scalar, left))
        simd.store(out, 3 * step, operation(left, whole))
        simd.store(out, 4 * step, operation(whole, left))

    return run


ARITHMETIC = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.divide,
    simd.minimum: np.minimum,
    simd.maximum: np.maximum,
}


@DTYPES
@pytest.mark.parametrize("operation", ARITHMETIC, ids=lambda operation: operation.__name__)
def test_arithmetic_with_vectors_and_with_scalars_on_either_side(operation, dtype):
    count, exact = lanes_of(dtype), ARITHMETIC[operation]
    x, y, scalar = numbers(count, 1, dtype), numbers(count, 2, dtype), dtype(1.375)
    out = np.full(5 * count, np.nan, dtype)
    compile_sides(operation)(x, y, scalar, 2, out, count)
    two = dtype(2)
    wanted = [exact(x, y), exact(x, scalar), exact(scalar, x), exact(x, two), exact(two, x)]
    rounding = 1e-7 if dtype == f4 else 1e-15  # x / s may become x * (1 / s)
    np.testing.assert_allclose(out.reshape(5, count), wanted, rtol=2 * rounding, atol=rounding)


def compile_comparison(operation):
    """Bits of x op y, x op scalar, scalar op x."""

    @compiled
    def run(x, y, scalar, out):
        left, right = simd.load(x, 0), simd.load(y, 0)
        out[0] = simd.mask_bits(operation(left, right))
        out[1] = simd.mask_bits(operation(left, scalar))
        out[2] = simd.mask_bits(operation(scalar, left))

    return run


def bits_of(where: np.ndarray) -> int:
    return sum(1 << lane for lane in np.flatnonzero(where).tolist())


@DTYPES
@pytest.mark.parametrize(
    "operation", [operator.gt, operator.ge, operator.lt, operator.le], ids=lambda o: o.__name__
)
def test_comparisons_lane_by_lane_ties_and_nan_included(operation, dtype):
    count, run = lanes_of(dtype), compile_comparison(operation)
    for seed in range(5):
        generator = np.random.default_rng(seed)
        x, y = (generator.integers(-2, 3, count).astype(dtype) for _ in range(2))
        x[seed], y[(seed + 1) % count] = np.nan, np.inf
        out = np.zeros(3, np.int64)
        run(x, y, dtype(1), out)
        wanted = [operation(x, y), operation(x, dtype(1)), operation(dtype(1), x)]
        assert out.tolist() == [bits_of(where) for where in wanted]


@compiled
def pick(x, y, out, step, some):
    left, right = simd.load(x, 0), simd.load(y, 0)
    where = left < right
    simd.store(out, 0, simd.choose(where, left, right))
    simd.store(out, step, simd.choose(where, x[0], right))
    simd.store(out, 2 * step, simd.choose(where, left, 2))
    simd.store(out, 3 * step, simd.choose(where & (right > x[1]), left, right))
    simd.store(out, 4 * step, -left)
    some[0], some[1], some[2] = (
        simd.any_lane(where),
        simd.any_lane(left < left),
        simd.any_lane(where & (left >= right)),
    )


@DTYPES
def test_choosing_masks_and_signs(dtype):
    count = lanes_of(dtype)
    x, y = numbers(count, 3, dtype), numbers(count, 4, dtype)
    out, some = np.full(5 * count, np.nan, dtype), np.ones(3, np.bool_)
    pick(x, y, out, count, some)
    where = x < y
    wanted = [
        np.where(where, x, y),
        np.where(where, x[0], y),
        np.where(where, x, dtype(2)),
        np.where(where & (y > x[1]), x, y),
        -x,
    ]
    np.testing.assert_array_equal(out.reshape(5, count), wanted)
    assert some.tolist() == [True, False, False] and 0 < where.sum() < count


@DTYPES
def test_a_single_lane_is_any_lane_and_its_bit(dtype):
    count, run = lanes_of(dtype), compile_comparison(operator.gt)
    for lane in range(count):
        x = np.zeros(count, dtype)
        x[lane] = 1
        out, some = np.zeros(3, np.int64), np.zeros(3, np.bool_)
        run(x, np.zeros(count, dtype), dtype(0), out)
        assert out.tolist() == [1 << lane, 1 << lane, 0]
        pick(-x, np.zeros(count, dtype), np.empty(5 * count, dtype), count, some)
        assert some[0]


@compiled
def summarise(x, out):
    value = simd.load(x, EDGE)
    out[0], out[1] = simd.lane_sum(value), simd.lane_max(value)


@DTYPES
def test_sum_and_largest_of_the_lanes(dtype):
    count, out = lanes_of(dtype), np.zeros(2, dtype)
    x = np.full(count + 2 * EDGE, 1e6, dtype)
    for seed in range(20):
        lanes = x[EDGE : EDGE + count] = numbers(count, seed, dtype, -9, -1)
        summarise(x, out)
        np.testing.assert_allclose(out[0], lanes.astype(f8).sum(), rtol=4e-7 if dtype == f4 else 1e-15)
        assert out[1] == lanes.max()
    for lane in range(count):  # every lane counts once
        x[EDGE : EDGE + count] = -np.arange(count) - 1
        x[EDGE + lane] = 1000
        summarise(x, out)
        assert out[0] == x[EDGE : EDGE + count].sum() and out[1] == 1000


@compiled
def roots(x, out):
    simd.store(out, 0, simd.square_root(simd.load(x, 0)))


@DTYPES
def test_square_roots_are_rounded_correctly(dtype):
    count = lanes_of(dtype)
    x = numbers(count, 5, dtype, 0, 1e6)
    x[:3] = 0, 4, 1e-30
    out = np.empty(count, dtype)
    roots(x, out)
    np.testing.assert_array_equal(out, np.sqrt(x))


@compiled
def exponentials(x, out):
    for k in range(0, x.shape[0], LANES):
        simd.store(out, k, simd.exp2(simd.load(x, k)))


@compiled
def logarithms(x, out):
    for k in range(0, x.shape[0], LANES):
        simd.store(out, k, simd.log2(simd.load(x, k)))


def test_exponentials():
    x = np.linspace(-126, 126, 2**18).astype(f4)
    x[:507] = np.arange(-253, 254) / f4(2)  # whole numbers, and where rounding turns over: halves
    x[:1], x[506:507] = -126, 126
    out = np.empty_like(x)
    exponentials(x, out)
    exact = np.exp2(x.astype(f8))
    assert np.abs(out / exact - 1).max() < 1e-6
    whole = x == np.round(x)
    np.testing.assert_array_equal(out[whole], exact[whole].astype(f4))


def test_logarithms():
    x = np.exp(np.linspace(np.log(1e-30), np.log(1e30), 2**18)).astype(f4)
    x[:201] = f4(2) ** np.arange(-100, 101)
    out = np.empty_like(x)
    logarithms(x, out)
    exact = np.log2(x.astype(f8))
    gap = np.abs(out - exact)
    assert (gap <= 1.5e-7 + 1.2e-7 * np.abs(exact)).all()  # a float32 of 100 is off by up to 4e-6 itself
    assert gap[np.abs(exact) < 4].max() < 1e-6
    np.testing.assert_array_equal(out[:201], exact[:201].astype(f4))


def test_the_logarithm_of_next_to_nothing_is_below_all_others():
    x = np.zeros(LANES, f4)
    x[1:6] = 1e-45, 1e-42, 1e-40, 1e-39, 1.1754944e-38  # the last is the smallest normal number
    out = np.empty(LANES, f4)
    logarithms(x, out)
    assert (out[:5] < -125).all() and (out[6:] < -125).all() and out[5] == -126


@compiled
def light_left(light, opacity, out):
    for k in range(0, light.shape[0], LANES):
        before = simd.load(light, k)
        weight = before * simd.load(opacity, k)
        simd.store(out, k, simd.subtract_exactly(before, weight))


def test_an_exact_difference_is_that_of_two_rounded_numbers():
    light, opacity = numbers(4096, 6, f4, 0.01, 1), numbers(4096, 7, f4, 0.01, 1)
    found = np.empty_like(light)
    light_left(light, opacity, found)
    rounded = (light * opacity).astype(f4)
    np.testing.assert_array_equal(found, light - rounded)
    fused = (light.astype(f8) - light.astype(f8) * opacity.astype(f8)).astype(f4)
    assert (fused != found).any()


ramp = simd.constant_vector([0.5 * lane - 2 for lane in range(LANES)])


@compiled
def constants(out, scalar):
    simd.store(out, 0, ramp())
    simd.store(out, LANES, simd.spread(scalar))
    simd.store(out, 2 * LANES, simd.spread(3))


def test_constants_and_spread_scalars():
    out = np.empty(3 * LANES, f4)
    constants(out, 0.1)
    np.testing.assert_array_equal(out[:LANES], np.arange(LANES, dtype=f4) / 2 - 2)
    assert (out[LANES : 2 * LANES] == f4(0.1)).all() and (out[2 * LANES :] == 3).all()


@compiled
def hint(array, at):
    simd.prefetch(array, at)
    simd.prefetch_far(array, at)
    return simd.load_one(array, 2)


@pytest.mark.parametrize("at", [0, 9, 10**12, -(10**12)])
def test_asking_for_what_is_not_there_is_harmless(at):
    assert hint(numbers(10, 1) * 0 + 5, at) == 5


@compiled
def first_bits(words, out):
    for k in range(words.shape[0]):
        out[k] = simd.lowest_bit(words[k])


def test_the_lowest_bit():
    words = np.array([1 << k for k in range(63)] + [-(2**63), -1, -4, 6, 0x50, 2**40 + 2**33], np.int64)
    out = np.empty_like(words)
    first_bits(words, out)
    assert out.tolist() == [*range(64), 0, 2, 1, 4, 33]


@compiled
def carry(words, x, out):
    where = simd.load(x, 0) > 0
    chosen = simd.choose(where, simd.spread_bits(words[0]), simd.spread_bits(words[1]))
    simd.store(out, 0, chosen)


def test_integers_carried_in_lanes_keep_every_bit():
    x, out = numbers(LANES, 8), np.empty(LANES, f4)
    for pair in ([0, -1], [1, 2**31 - 1], [0x7F800001, -(2**31)], [123456789, 0x7FC00000]):
        words = np.array(pair, np.int64).astype(np.int32)
        carry(words, x, out)
        np.testing.assert_array_equal(out.view(np.int32), np.where(x > 0, words[0], words[1]))


@compiled
def four_sums(table, out, at):
    simd.add_lane_sums(
        out, at, simd.load(table, 0), simd.load(table, 16), simd.load(table, 32), simd.load(table, 48)
    )


def test_sums_of_four_vectors_are_added():
    whole = np.random.default_rng(9).integers(-99, 99, 4 * LANES).astype(f4)
    out = np.arange(12, dtype=f4)
    four_sums(whole, out, EDGE)
    wanted = np.arange(12, dtype=f4)
    wanted[EDGE : EDGE + 4] += whole.reshape(4, LANES).sum(1)
    np.testing.assert_array_equal(out, wanted)
    for lane in range(4 * LANES):
        one, out = np.zeros(4 * LANES, f4), np.zeros(4, f4)
        one[lane] = 1
        four_sums(one, out, 0)
        assert out.tolist() == [float(k == lane // LANES) for k in range(4)]


@compiled
def transpose_block(source, start, stride, target, place):
    simd.transpose_store(source, start, stride, target, place)


@pytest.mark.parametrize("stride", [16, 19, 40])
def test_a_block_is_transposed(stride):
    source = np.arange(EDGE + LANES * stride, dtype=f4)
    out = np.full(300, 7.5, f4)
    transpose_block(source, EDGE, stride, out, 5)
    rows = np.stack([source[EDGE + p * stride :][:LANES] for p in range(LANES)])
    assert_only(out, 5, rows.T.reshape(-1), 7.5)


@compiled
def outer(values, weights, at, out, stride):
    total = simd.group_zero()
    for k in range(3):
        total = simd.group_add_outer(total, simd.load(values, k * LANES), weights, at + k * GROUP)
    simd.group_store(out, EDGE, stride, total)


def test_group_of_rank_one_updates():
    values, weights, stride = numbers(3 * LANES, 10), numbers(3 * GROUP + 2, 11), LANES + 5
    out = np.full(2 * EDGE + GROUP * stride, 7.0, f4)
    outer(values, weights, 2, out, stride)
    wanted = weights[2:].reshape(3, GROUP).T.astype(f8) @ values.reshape(3, LANES).astype(f8)
    for p in range(GROUP):
        at = EDGE + p * stride
        np.testing.assert_allclose(out[at : at + LANES], wanted[p], rtol=0, atol=4e-6)
        out[at : at + LANES] = 7
    assert (out == 7).all()


@compiled
def gathered(values, array, offsets, first, k, out):
    rows = simd.load_offsets(offsets, first)
    total = simd.group_add_gathered(simd.batch_zero(), simd.load(values, 0), array, rows, k)
    simd.group_store(out, 0, LANES, simd.group_add_gathered(total, simd.load(values, 1), array, rows, k + 1))


def test_group_of_scalars_from_listed_places():
    values, array = numbers(LANES + 1, 12), numbers(90, 13)
    offsets = np.random.default_rng(14).integers(0, 80, BATCH + 2)
    out = np.empty(BATCH * LANES, f4)
    gathered(values, array, offsets, 2, 4, out)
    scalars = np.stack([array[offsets[2:] + 4], array[offsets[2:] + 5]], axis=1).astype(f8)
    wanted = scalars @ np.stack([values[:LANES], values[1:]]).astype(f8)
    np.testing.assert_allclose(out.reshape(BATCH, LANES), wanted, rtol=0, atol=4e-6)


@compiled
def columns(values, table, at, out, offsets, k):
    total = simd.group_add_columns(simd.batch_zero(), simd.load(values, 0), table, at)
    simd.group_scatter_add(out, simd.load_offsets(offsets, 0), k, total)


def test_group_of_columns_added_to_listed_rows_also_to_one_row_several_times():
    values, table = numbers(LANES, 15), numbers(LANES * BATCH, 16)
    generator = np.random.default_rng(17)
    for rows in (generator.permutation(BATCH), np.zeros(BATCH, int), generator.integers(0, 3, BATCH)):
        offsets = (rows * 21).astype(np.int64)
        out = np.full(BATCH * 21 + 2 * EDGE, 7.0, f4)
        wanted = out.astype(f8)
        columns(values, table, 4, out, offsets, EDGE)
        for p, offset in enumerate(offsets):
            wanted[offset + EDGE : offset + EDGE + LANES] += table[4 + LANES * p] * values.astype(f8)
        np.testing.assert_allclose(out, wanted, rtol=0, atol=2e-5)
        assert (out[wanted == 7] == 7).all()


def test_group_sizes_suit_the_kernels():
    assert LANES % GROUP == 0 and (GROUP, BATCH) in ((4, 6), (8, 12))


OTHER_REGISTERS = """
import sys
import llvmlite.binding as llvm
import pytest

known = llvm.get_host_cpu_features
wide = not known().get("avx512f", False)
llvm.get_host_cpu_features = lambda: {"avx512f": wide}
from featurefields import simd
llvm.get_host_cpu_features = known
print("groups of", simd.GROUP, simd.BATCH)
sys.exit(pytest.main([sys.argv[1], "-v", "-k", "test_group_of", "-p", "no:cacheprovider"]))
"""


def test_groups_as_large_as_on_a_machine_with_other_registers():
    run = subprocess.run(
        [sys.executable, "-c", OTHER_REGISTERS, __file__],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0 and "3 passed" in run.stdout, run.stdout + run.stderr
    assert f"groups of {GROUP}" not in run.stdout


@pytest.mark.parametrize("kind", [simd.vector, simd.doubles, simd.mask])
def test_types_are_the_same_after_being_written_and_read(kind):
    """Numba keeps compiled kernels with their types; a copy goes through the same door."""
    assert copy.deepcopy(kind) is kind


def test_minimum_and_maximum_reach_infinity():
    out = np.empty(5 * LANES, f4)
    x = np.full(LANES, inf, f4)
    compile_sides(simd.minimum)(x, -x, f4(1), 2, out, LANES)
    np.testing.assert_array_equal(out[::LANES], [-inf, 1, 1, 2, 2])
