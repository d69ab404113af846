"""Work split over threads: every part once, the first error raised."""

import threading

import pytest
import torch

from featurefields.threads import run_parallel, share, thread_count


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
