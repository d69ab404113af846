"""Processes killed while they write, and several on one cache: what is on disk under its final name is whole.

`python -m benchmarks faults` kills whole commands at random moments.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import pytest
import torch

from benchmarks.hostile.scenes import tiny_field
from featurefields.files.archive import read_archive, write_archive
from featurefields.vision.interface import FeatureMap
from featurefields.vision.store import FeatureStore

CONTEXT = multiprocessing.get_context("fork")
KEYS = [f"{number:064x}" for number in range(6)]


def started(work: Callable[[], object]) -> BaseProcess:
    child = CONTEXT.Process(target=work)
    child.start()
    return child


def content(number: int) -> torch.Tensor:
    return torch.full((8, 40, 40), float(number)).half()


def fill(folder: Path, rounds: int, *, cap: int = 1 << 30) -> None:
    """Write and read maps without end, or `rounds` times; an unsound map ends the process with an error."""
    store = FeatureStore(folder, max_bytes=cap)
    for turn in range(rounds):
        for number, key in enumerate(KEYS):
            store.write(key, FeatureMap(content(number), (40, 40)))
            found = store.read(KEYS[(number + turn) % len(KEYS)], verify=True)
            if found is not None and not torch.equal(found.features, content((number + turn) % len(KEYS))):
                os._exit(3)


@pytest.mark.parametrize("seed", range(6))
def test_an_archive_whose_writer_is_killed_is_old_or_new(seed: int, tmp_path: Path) -> None:
    path = write_archive(tiny_field(), tmp_path / "field.safetensors")

    def write() -> None:
        while True:
            write_archive(tiny_field(), path, overwrite=True)

    child = started(write)
    time.sleep(Random(seed).uniform(0.02, 0.3))
    child.kill()
    child.join()
    assert torch.equal(read_archive(path).splats.means, tiny_field().splats.means)


@pytest.mark.parametrize("seed", range(6))
def test_a_cache_whose_writer_is_killed_holds_sound_maps(seed: int, tmp_path: Path) -> None:
    child = started(lambda: fill(tmp_path, 10**9))
    time.sleep(Random(seed).uniform(0.02, 0.3))
    child.kill()
    child.join()
    store = FeatureStore(tmp_path, max_bytes=1 << 30)
    for number, key in enumerate(KEYS):
        found = store.read(key)
        assert found is None or torch.equal(found.features, content(number))


@pytest.mark.parametrize("cap", [1 << 30, 80_000])
def test_processes_that_share_a_cache_read_only_sound_maps(cap: int, tmp_path: Path) -> None:
    """Also where the cache is so small that one removes what the other has just found."""
    children = [started(lambda: fill(tmp_path, 8, cap=cap)) for _ in range(3)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0, 0]
