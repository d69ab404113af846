"""`python -m benchmarks hostile`: every reader against damaged files, each in a process that may not grow or hang."""

import argparse
import faulthandler
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

MEMORY_BYTES = 2 << 30
"""What a reader may ask for beyond what its process has when it begins."""
SECONDS = 20.0
"""A file that takes longer hangs."""


def main(arguments: list[str]) -> int:
    from benchmarks.hostile.formats import FORMATS

    parser = argparse.ArgumentParser(prog="python -m benchmarks hostile", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="damaged files for every reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(FORMATS), choices=list(FORMATS), metavar="READER")
    parser.add_argument("--keep", type=Path, help="folder that files with a defect are copied to")
    chosen = parser.parse_args(arguments)
    print("| reader | files | read | refused in one line | other | slowest ms |\n|---|---|---|---|---|---|")
    defects = 0
    for name in chosen.only:
        told, found, slowest = attacked(name, chosen.files, chosen.seed, chosen.keep)
        other = sum(told.values()) - told["read"] - told["refused"]
        print(
            f"| {name} | {sum(told.values())} | {told['read']} | {told['refused']} | {other} | {1000 * slowest:.0f} |",
            flush=True,
        )
        for line, count in found.most_common():
            print(f"    {name}: {count} x {line}", file=sys.stderr)
        defects += other
    return int(defects > 0)


def attacked(name: str, files: int, seed: int, keep: Path | None) -> tuple[Counter[str], Counter[str], float]:
    """How often a reader read, refused or failed, how it failed, and the longest time."""
    told: Counter[str] = Counter()
    found: Counter[str] = Counter()
    slowest, number = 0.0, 0
    context = multiprocessing.get_context("fork")
    while number < files:
        here, there = context.Pipe()
        child = context.Process(target=_attack, args=(there, name, number, files, seed, keep))
        child.start()
        there.close()
        started = number
        while number < files and here.poll(SECONDS + 20 * (number == started)):
            try:
                verdict, line, seconds = here.recv()
            except EOFError:
                break
            told[verdict] += 1
            found.update([line] if line else [])
            slowest, number = max(slowest, seconds), number + 1
        if number < files:
            hangs = child.is_alive() and not here.poll(0.5)
            child.kill()
            child.join()
            told["died"] += 1
            found[f"{'hangs' if hangs else f'dies ({child.exitcode})'} on file {number}"] += 1
            number += 1
        child.join()
    return told, found, slowest


def _attack(pipe: Connection, name: str, first: int, last: int, seed: int, keep: Path | None) -> None:
    from benchmarks.hostile.damage import damaged
    from benchmarks.hostile.formats import FORMATS

    faulthandler.disable()
    form = FORMATS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        form.prepare(folder)
        form.read(folder)  # valid, and all that is loaded late is loaded
        whole = (folder / form.victim).read_bytes()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
        for number in range(first, last):
            content = damaged(whole, Random(f"{name} {seed} {number}"))
            (folder / form.victim).write_bytes(content)
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{name.replace(' ', '-')}-last").write_bytes(content)
            began = time.perf_counter()
            verdict, line = verdict_of(name, folder)
            if verdict == "failed" and keep:
                (keep / f"{name.replace(' ', '-')}-{number}").write_bytes(content)
            pipe.send((verdict, line, time.perf_counter() - began))


def verdict_of(name: str, folder: Path) -> tuple[str, str]:
    """("read", ""), ("refused", ""), or ("failed", how): anything but a value or one line of our own errors."""
    import traceback
    import warnings

    from benchmarks.hostile.formats import FORMATS
    from featurefields.errors import FeatureFieldsError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of numpy: numbers beyond all bounds
            FORMATS[name].read(folder)
    except FeatureFieldsError as error:
        lines = str(error).splitlines()
        return (
            ("refused", "")
            if len(lines) == 1
            else ("failed", f"{len(lines)} lines: {json.dumps(str(error))[:200]}")
        )
    except Exception as error:  # any other is a defect, whatever it is
        place = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in place if "featurefields" in frame.filename] or place
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return "failed", f"{type(error).__name__} at {where}: {str(error)[:120]!r}"
    return "read", ""
