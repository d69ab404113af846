"""Base against distilled, and the ablations, with real ImageNet weights.

    python -m assets.practice --output practice --scenes 100
    python -m benchmarks distill --weights mnv2_imagenet_int8.npz --scenes practice rendered \\
        --probe-train rendered/* --held-out gloss-21 room-33 matte-7 -o results

The backbone is ImageNet's MobileNetV2 (8-bit weights, converted to transformers' format), features are its blocks 5, 12
and 15. Every variant is distilled on --scenes with `ff distill`; geometry is the scenes' depth maps. Base and distilled
networks are frozen and probed as `ff probe` does: heads trained on --probe-train, measured on --held-out; views matched
on --captures, without training; one click an object in --field. Everything is kept in the output folder: what is there
already is not made again, so an interrupted run goes on.
"""

import argparse
import json
from pathlib import Path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks distill", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--weights", type=Path, required=True, help="mnv2_imagenet_int8.npz")
    parser.add_argument(
        "--scenes", type=Path, nargs="+", required=True, help="scenes, or folders of scenes, to distil on"
    )
    parser.add_argument(
        "--probe-train", type=Path, nargs="+", default=[], help="scenes that probes are trained on"
    )
    parser.add_argument(
        "--held-out", type=Path, nargs="+", default=[], help="scenes that probes are measured on"
    )
    parser.add_argument(
        "--captures", type=Path, nargs="+", default=[], help="captures with depth, for matching alone"
    )
    parser.add_argument("--field", type=Path, help="fitted field to click in")
    parser.add_argument("--field-data", type=Path, help="its photos")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of the full method (default: 3)")
    parser.add_argument("--ablations", nargs="+", default=[], help="names, or all; one training each")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--ablation-steps", type=int, help="default: as --steps; the full method is then trained so "
                        "long, too, as a row of its own")  # fmt: skip
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--momentum", type=float, default=0.97,
                        help="of the teacher; short trainings need quick ones (default: 0.97)")  # fmt: skip
    parser.add_argument("--probe-seeds", type=int, default=3)
    parser.add_argument("--probe-steps", type=int, help="default: ff probe's fast schedule")
    parser.add_argument("--every", type=int, default=1, help="probe every n-th view")
    options = parser.parse_args(arguments)
    report = measure(options)
    from featurefields.atomic import write_bytes

    write_bytes(options.output / "report.json", json.dumps(report, indent=1).encode(), overwrite=True)
    return 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Train what is missing, measure what is missing, show the table."""
    from benchmarks.distill.mobilenet import write_mobilenet
    from benchmarks.distill.report import table
    from benchmarks.distill.training import distilled
    from benchmarks.distill.variants import BASE, FULL, Variant, chosen
    from featurefields.memory import keep_freed_memory

    keep_freed_memory()
    base = options.output / BASE
    if not base.is_dir():
        write_mobilenet(options.weights, base)
    plan = [(FULL, seed, options.steps) for seed in range(options.seeds)]
    short = options.ablation_steps or options.steps
    variants = chosen(options.ablations)
    if variants and short != options.steps:
        plan.append((Variant(f"full-{short}"), 0, short))
    plan += [(variant, 0, short) for variant in variants]
    measured: dict[str, list[dict[str, float]]] = {BASE: [_numbers(base, options)]}
    for variant, seed, steps in plan:
        common = ["--steps", str(steps), "--batch", str(options.batch), "--rate", str(options.rate),
                  "--momentum", str(options.momentum)]  # fmt: skip
        run = distilled(base, options.scenes, options.output, variant, seed, common)
        measured.setdefault(variant.name, []).append(_numbers(run.folder, options))
        print(table(measured), flush=True)
    facts = {name: str(value) for name, value in vars(options).items()}
    return {"facts": facts, "measured": measured}


def _numbers(network: Path, options: argparse.Namespace) -> dict[str, float]:
    """All numbers of one network, read from beside it where they are known already."""
    from benchmarks.distill.probing import clicked, matched, probed
    from featurefields.atomic import write_bytes

    known = network / "measured.json"
    found: dict[str, float] = json.loads(known.read_text()) if known.exists() else {}
    if options.held_out and not any(name.startswith("depth ") for name in found):
        found |= probed(network, options.probe_train, options.held_out, options.probe_seeds,
                        options.probe_steps, options.every)  # fmt: skip
    for capture in options.captures:
        if not any(name.startswith(f"{capture.name} ") for name in found):
            found |= matched(network, capture, 320)
    if options.field and not any(name.startswith("click ") for name in found):
        found |= clicked(network, options.field, options.field_data)
    write_bytes(known, json.dumps(found, indent=1).encode(), overwrite=True)
    return found
