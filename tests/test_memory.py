"""Freed memory stays with the process that asked for it, and only there."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from featurefields.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

obeyed = keep_freed_memory() if {keep} else None
for _ in range(3):
    array = np.ones(50_000_000, np.uint8)
full = resident()
del array
print(obeyed, full - resident() > 25_000_000)
"""


def run(keep: bool) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(keep=keep)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_arrays_stay_with_the_process():
    assert run(keep=True) == ["True", "False"]
    assert run(keep=False) == ["None", "True"]


def test_other_systems_are_left_alone(monkeypatch):
    from featurefields import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False


def test_c_libraries_without_the_setting_are_left_alone(monkeypatch):
    from featurefields import memory

    def none(name):
        raise OSError("no such library")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", none)
    assert memory.keep_freed_memory() is False
