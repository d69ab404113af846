"""Speed of drawing on the workloads W1 to W6, as ratios of one run.

  W1, W2, W3   50k Gaussians at 256 x 256, 3 / 16 / 64 channels, forward and backward
  W4           200k Gaussians at 512 x 512, 64 channels, forward
  W5           lifting: the transpose of drawing, 64 channels
  W6           frozen geometry: W and its transpose applied, 64 channels

Candidates: cpu, reference, plain torch with tiles in batches, gsplat's own torch implementation (where gsplat can be
imported) and gsplat on CUDA (where there is a device). All run interleaved in this process on the same inputs; samples
taken while the machine was busy are dropped. The gate compares the ratios with benchmarks/raster/baseline.json.
"""

import argparse
import json
from pathlib import Path

from benchmarks.raster.report import gate, save_baseline, show

DATA = Path(__file__).parents[3] / "shared" / "data" / "workloads"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks raster", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--data", type=Path, default=DATA, help="folder with fox50k_256.npz and fox200k_512.npz; "
                        "scenes of the same size are made up where it is missing")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few samples, without the slow candidates")
    parser.add_argument("--json", type=Path, help="also write everything measured here")
    parser.add_argument(
        "--gate", action="store_true", help="exit 1 when a ratio is worse than the baseline's"
    )
    parser.add_argument("--save-baseline", action="store_true", help="make this run's ratios the baseline")
    options = parser.parse_args(arguments)
    from benchmarks.raster.suite import measure
    from featurefields.memory import keep_freed_memory

    keep_freed_memory()
    report = measure(options.data if options.data.exists() else None, quick=options.quick)
    show(report)
    if options.json:
        from featurefields.atomic import write_bytes

        write_bytes(options.json, json.dumps(report, indent=1).encode(), overwrite=True)
    if options.save_baseline:
        save_baseline(report)
    return gate(report) if options.gate else 0
