"""Work split over threads: every part once, the first error raised."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from featurefields.threads import run_parallel, share, thread_count

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_shares_cover_everything_once_and_evenly(count, parts):
    ranges = [share(count, part, parts) for part in range(parts)]
    assert [row for first, last in ranges for row in range(first, last)] == list(range(count))
    sizes = [last - first for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_every_part_runs_once(parts):
    seen, lock = [], threading.Lock()

    def task(part: int) -> None:
        with lock:
            seen.append(part)

    run_parallel(task, parts)
    assert sorted(seen) == list(range(parts))


def test_parts_run_at_the_same_time():
    meeting = threading.Barrier(3, timeout=20)
    run_parallel(lambda part: meeting.wait() and None, 3)


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_an_error_of_any_part_is_raised(broken):
    def task(part: int) -> None:
        if part == broken:
            raise ValueError(f"part {part}")

    with pytest.raises(ValueError, match=f"part {broken}"):
        run_parallel(task, 3)


def test_torch_sets_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert thread_count() == 1
    finally:
        torch.set_num_threads(before)
    assert 1 <= thread_count() <= before


def test_many_threads_may_ask_at_once():
    """Every caller gets all of its own parts, run once, and its own errors."""
    wrong: list[str] = []
    ready = threading.Barrier(8, timeout=20)

    def ask(caller: int) -> None:
        ready.wait()
        for turn in range(60):
            parts, broken = 1 + (caller + turn) % 5, turn % 4 == 3
            seen, lock = [], threading.Lock()

            def task(part: int, seen=seen, lock=lock, last=parts - 1 if broken else None) -> None:
                with lock:
                    seen.append(part)
                if part == last:
                    raise ValueError(f"caller {caller}")

            try:
                run_parallel(task, parts)
                failed = ""
            except ValueError as error:
                failed = str(error)
            if sorted(seen) != list(range(parts)) or failed != (f"caller {caller}" if broken else ""):
                wrong.append(f"caller {caller}, turn {turn}: {seen} {failed!r}")

    callers = [threading.Thread(target=ask, args=(caller,), daemon=True) for caller in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=60)
    assert not any(caller.is_alive() for caller in callers)
    assert wrong == []


def test_the_pool_goes_on_after_an_error():
    def fail(part: int) -> None:
        raise ValueError(f"part {part}")

    for _ in range(20):
        with pytest.raises(ValueError, match="part 0"):
            run_parallel(fail, 3)
    meeting = threading.Barrier(3, timeout=20)
    run_parallel(lambda part: meeting.wait() and None, 3)


FORKING = """
import os
import threading

from featurefields.threads import run_parallel


def meet() -> None:
    # parts that wait for each other: only threads of this very process get past it
    meeting = threading.Barrier(4, timeout=10)
    run_parallel(lambda part: meeting.wait() and None, 4)


def stay_busy() -> None:
    while not stop.is_set():
        run_parallel(lambda part: None, 4)


meet()
stop = threading.Event()
busy = threading.Thread(target=stay_busy)
busy.start()
children = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        try:
            meet()
        except BaseException:
            os._exit(1)
        os._exit(0)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
stop.set()
busy.join()
meet()
print(codes)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_starts_threads_of_its_own():
    """Forked while the pool is idle in some places and busy in others; the parent goes on, too."""
    run = subprocess.run(
        [sys.executable, "-c", FORKING], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0 and run.stdout.strip() == str([0] * 10), run.stdout + run.stderr
