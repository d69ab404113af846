"""Features in closed form against gradient descent of the same model, on one field and its photos.

The model: a view-independent part and one linear in directional functions, with a ridge (featurefields/lifting/
least_squares.py). Conjugate gradients find its optimum; Adam, one view a step, minimises the same objective from the
same start with several step sizes and lengths, the fastest of which counts (finding out which one that is, is free).
Feature pictures are made before and lie in memory; making them is told apart. Everything ran once before it is timed,
and all solvers run in one process with the same threads. Losses are measured off the clock, over all pixels of all
training views. Beside them: the one-pass lift, and `ff fit --solver sgd` as it is, for the linear model and with its
network a pixel.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.solvers.problem import Problem

GIGABYTE = 10**9


def main(arguments: list[str]) -> int:
    from benchmarks.quality import DEMO

    parser = argparse.ArgumentParser(prog="python -m benchmarks solvers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--field", type=Path, required=True, help="fitted field, whose geometry is taken")
    parser.add_argument("--data", type=Path, default=DEMO, help="its photos (default: the demo scene)")
    parser.add_argument("--features", default="classical", help="extractor (default: classical)")
    parser.add_argument("--dim", type=int, default=32, help="stored dimensions (default: 32)")
    parser.add_argument(
        "--degree", type=int, default=1, choices=(0, 1, 2, 3), help="of the directional functions"
    )
    parser.add_argument("--ridge", type=float, default=0.1, help="both ridges (default: 0.1, as in ff fit)")
    parser.add_argument("--within", type=float, default=0.01, help="share above the optimum (default: 0.01)")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.3, 1.0],
                        help="Adam's first step sizes, as shares of the features' root mean square")  # fmt: skip
    parser.add_argument("--epochs", type=int, nargs="+", default=[15, 60], help="lengths of the descents")
    parser.add_argument("--bound", type=float, default=20.0,
                        help="descents are given up after so many times the closed form's time")  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    options = parser.parse_args(arguments)
    report = measure(options)
    if options.json:
        from featurefields.atomic import write_bytes

        write_bytes(options.json, json.dumps(report, indent=1).encode(), overwrite=True)
    return 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Race, show, and everything measured."""
    import torch

    from benchmarks.solvers.race import race
    from benchmarks.solvers.report import show, verdicts
    from benchmarks.solvers.stochastic import Schedule
    from featurefields.memory import keep_freed_memory

    keep_freed_memory()
    problem, facts = prepare(options)
    facts["threads"] = torch.get_num_threads()
    schedules = [Schedule(rate=rate, epochs=epochs) for epochs in options.epochs for rate in options.rates]
    runs, goal = race(
        problem, schedules, within=options.within, bound=options.bound,
        on_run=lambda name: print(f"{name} …", file=sys.stderr, flush=True),
    )  # fmt: skip
    judged = verdicts(runs, goal)
    show(runs, goal, judged, facts)
    return {
        "facts": facts,
        "goal": asdict(goal),
        "runs": [asdict(run) for run in runs],
        "verdicts": [verdict.as_json() for verdict in judged],
    }


def prepare(options: argparse.Namespace) -> "tuple[Problem, dict[str, object]]":
    """The problem with its maps in memory, and how long making those took."""
    from benchmarks.solvers.problem import Problem
    from featurefields.lifting.least_squares import LeastSquaresConfig
    from featurefields.lifting.pictures import feature_pictures
    from featurefields.raster import choose_rasterizer
    from featurefields.vision.cache import extract_features
    from featurefields.vision.compress import fit_basis
    from featurefields.vision.select import choose_extractor
    from featurefields_cli.console import Console
    from featurefields_cli.held_out import measured_on
    from featurefields_cli.inputs import load_field

    field, scene = measured_on(load_field(options.field), options.data, Console(json=True))
    views, extractor = scene.split("train"), choose_extractor(options.features)
    started = time.perf_counter()
    extracted = extract_features(views, extractor)
    at_hand = time.perf_counter()
    basis = fit_basis(extracted, min(options.dim, extractor.dim))
    pictures = {name: make() for name, make in feature_pictures(views, extracted, basis).items()}
    made = time.perf_counter()
    about = replace(
        field.about, extractor=extractor.fingerprint, feature_mean=basis.mean, feature_basis=basis.basis
    )
    problem = Problem(
        field=replace(field, about=about),
        views=views,
        maps={name: lambda kept=picture: kept for name, picture in pictures.items()},
        rasterizer=choose_rasterizer(),
        config=LeastSquaresConfig(
            degree=options.degree, ridge=options.ridge, directional_ridge=options.ridge
        ),
        budget_bytes=4 * GIGABYTE,
    )
    facts: dict[str, object] = {
        "scene": scene.name, "splats": len(field), "views": len(views), "features": options.features,
        "stored dimensions": basis.dim, "degree": options.degree, "ridge": options.ridge,
        "extraction s (0 when cached)": round(at_hand - started, 1),
        "basis and pictures s": round(made - at_hand, 1),
    }  # fmt: skip
    return problem, facts
