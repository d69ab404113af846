"""What the machine can do at most: multiply-adds and bytes per second, on as many threads as kernels use."""

import time
from dataclasses import dataclass

import numpy as np

from featurefields.raster.cpu.kernels import kernel
from featurefields.simd import GROUP, LANES, group_add_outer, group_store, group_zero, load, store
from featurefields.threads import run_parallel, share, thread_count

f4 = np.float32


@dataclass(frozen=True)
class Limits:
    """Peak rates over all threads."""

    threads: int
    gflops: float
    gbytes_per_s: float


@kernel
def multiply_adds(count, numbers, out):
    values, total = load(numbers, 0), group_zero()
    for _ in range(count):
        total = group_add_outer(total, values, numbers, 0)
    group_store(out, 0, LANES, total)


@kernel
def copy(source, target, first, last):
    for i in range(first, last, LANES):
        store(target, i, load(source, i))


def best_of(times: int, call) -> float:
    call()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def measure_limits() -> Limits:
    """About a second of work."""
    threads, count = thread_count(), 2_000_000
    numbers = np.full(LANES, 1e-3, f4)
    outs = [np.empty(LANES * GROUP, f4) for _ in range(threads)]
    seconds = best_of(
        7, lambda: run_parallel(lambda part: multiply_adds(count, numbers, outs[part]), threads)
    )
    gflops = threads * count * GROUP * LANES * 2 / seconds / 1e9
    size = 2**25
    source, target = np.zeros(size, f4), np.zeros(size, f4)

    def copy_part(part: int) -> None:
        first, last = share(size // LANES, part, threads)
        copy(source, target, first * LANES, last * LANES)

    seconds = best_of(5, lambda: run_parallel(copy_part, threads))
    return Limits(threads, gflops, 2 * 4 * size / seconds / 1e9)
