"""Distilled networks on disk: made once, with `ff distill` as users run it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.distill.variants import Variant


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        variant: name of the variant.
        seed: of the training.
        folder: the trained network.
    """

    variant: str
    seed: int
    folder: Path


def distilled(
    base: Path, scenes: Sequence[Path], output: Path, variant: Variant, seed: int, options: Sequence[str]
) -> Run:
    """The network of one variant and seed below `output`; an interrupted training goes on, a finished one is kept.

    Raises:
        RuntimeError: the training failed.
    """
    from featurefields_cli.main import main

    folder = output / f"{variant.name}-{seed}"
    model = folder / "model"
    if not model.is_dir():
        resumed = ["--resume"] if (folder / "checkpoint.safetensors").exists() else []
        print(f"training {variant.name}, seed {seed}", file=sys.stderr, flush=True)
        code = main(
            [
                "distill", "--data", *map(str, scenes), "--features", f"transformers:{base}", "-o", str(folder),
                "--seed", str(seed), *options, *variant.options, *resumed,
            ]
        )  # fmt: skip
        if code:
            raise RuntimeError(f"training {variant.name} with seed {seed} ended with code {code}")
    return Run(variant.name, seed, model)
