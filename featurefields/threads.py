"""Threads for kernels that release the interpreter lock."""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import torch

_jobs: SimpleQueue = SimpleQueue()
_workers: list[threading.Thread] = []
_growing = threading.Lock()


class _Job:
    """One part of a task for a worker, and a lock that opens when it is done."""

    __slots__ = ("done", "error", "part", "task")

    def __init__(self, task: Callable[[int], object], part: int) -> None:
        self.task, self.part, self.error = task, part, None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            self.task(self.part)
        except BaseException as error:
            self.error = error
        finally:
            self.done.release()


def _work() -> None:
    while True:
        _jobs.get().run()


def _start_workers(count: int) -> None:
    with _growing:
        while len(_workers) < count:
            worker = threading.Thread(target=_work, name=f"featurefields-{len(_workers) + 1}", daemon=True)
            worker.start()
            _workers.append(worker)


def _after_fork() -> None:
    """A forked process has the list of threads but not the threads."""
    global _jobs, _growing
    _jobs, _growing = SimpleQueue(), threading.Lock()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def thread_count() -> int:
    """Threads a kernel is split over: as many as torch uses, so that one setting governs both."""
    return max(1, min(torch.get_num_threads(), os.cpu_count() or 1))


def run_parallel(task: Callable[[int], object], parts: int) -> None:
    """`task(0)`, …, `task(parts - 1)`, each in a thread; returns when all are done, raising the first error.

    A pool of its own, because handing over to `concurrent.futures` takes as long as some kernels. Parts must not call
    `run_parallel` themselves.
    """
    if parts == 1:
        task(0)
        return
    _start_workers(parts - 1)
    jobs = [_Job(task, part) for part in range(parts)]
    for job in jobs[1:]:
        _jobs.put(job)
    jobs[0].run()
    for job in jobs:
        job.done.acquire()
    for job in jobs:
        if job.error is not None:
            raise job.error


def share(count: int, part: int, parts: int) -> tuple[int, int]:
    """The part-th of `parts` nearly equal ranges of 0..count-1."""
    return count * part // parts, count * (part + 1) // parts
