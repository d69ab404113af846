"""`python -m benchmarks.hostile.coverage READER [CORPUS] [-max_total_time=60 …]`: fuzzing led by coverage (atheris).

atheris is no dependency of ours: install it where this runs (`pip install atheris`). Options with one dash are
libFuzzer's. A finding is written to crash-… in the folder where this runs, as libFuzzer does. Half of all changes to a
file are those of `damage`, which knows JSON and numbers: libFuzzer's own seldom get past a parser.
"""

import atexit
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random


def main(arguments: list[str]) -> None:
    import atheris  # pyright: ignore[reportMissingImports]

    scratch = tempfile.TemporaryDirectory()
    atexit.register(scratch.cleanup)
    folder, seeds = Path(scratch.name) / "files", Path(scratch.name) / "seeds"
    folder.mkdir()
    seeds.mkdir()
    name, *rest = arguments or [""]
    watched = ["featurefields", "featurefields_cli", "benchmarks"]
    kept = compiled()
    with atheris.instrument_imports(include=watched, exclude=kept):  # pyright: ignore[reportAttributeAccessIssue]
        from benchmarks.hostile.command import verdict_of
        from benchmarks.hostile.damage import damaged
        from benchmarks.hostile.formats import FORMATS

        if name not in FORMATS:
            raise SystemExit(f"readers: {', '.join(FORMATS)}")
        form = FORMATS[name]
        form.prepare(folder)
        form.read(folder)  # all that is imported on use is imported here
    victim = folder / form.victim
    (seeds / "valid").write_bytes(victim.read_bytes())

    def once(content: bytes) -> None:
        victim.write_bytes(content)
        verdict, line = verdict_of(name, folder)
        if verdict == "failed":
            raise AssertionError(line)

    def changed(content: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            with suppress(RecursionError):  # JSON that is deeper than what can be written again
                made = damaged(content, random)
                if len(made) <= longest:
                    return made
        return atheris.Mutate(content, longest)  # pyright: ignore[reportAttributeAccessIssue]

    # the first folder grows, the others are only read
    folders = [each for each in rest if not each.startswith("-")] or [str(seeds)]
    options = [each for each in rest if each.startswith("-")]
    atheris.Setup(
        [sys.argv[0], *options, *dict.fromkeys((*folders, str(seeds)))],
        once,
        custom_mutator=changed,
    )
    atheris.Fuzz()


def compiled() -> list[str]:
    """Modules with kernels: numba compiles nothing that has been instrumented."""
    root = Path(__file__).parents[2]
    return [
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in (root / "featurefields").rglob("*.py")
        if "numba" in (text := path.read_text(encoding="utf-8")) or "@kernel" in text or "@piece" in text
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
