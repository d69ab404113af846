"""Threads for kernels that release the interpreter lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


@lru_cache(maxsize=4)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="featurefields-raster")


def thread_count() -> int:
    """Threads a kernel is split over: as many as torch uses, so that one setting governs both."""
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))


def run_parallel(task: Callable[[int], None], parts: int) -> None:
    """`task(0)`, …, `task(parts - 1)`, each in a thread; returns when all are done, raising the first error."""
    if parts == 1:
        task(0)
        return
    pending: Iterable = [_pool(parts).submit(task, part) for part in range(1, parts)]
    task(0)
    for future in pending:
        future.result()


def share(count: int, part: int, parts: int) -> tuple[int, int]:
    """The part-th of `parts` nearly equal ranges of 0..count-1."""
    return count * part // parts, count * (part + 1) // parts
