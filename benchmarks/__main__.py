"""`python -m benchmarks [NAME …]`: run one benchmark, or list them; without a name, `quality` on the demo scene."""

import os
import sys
from importlib import import_module

BENCHMARKS = {
    "quality": "held-out PSNR, single-click segmentation, and removal of reflections against ground truth",
    "edits": "removal of reflections, object by object: fields, baked and ordinary splats against ground truth",
    "lift": "photos to a field without fitting: depth, novel views, features, clicks, time and memory, by geometry",
    "clicks": "seconds from a click to its selection, the first and further ones, of 200,000 Gaussians",
    "raster": "speed of drawing, lifting and frozen geometry against torch and gsplat, as ratios, with a gate",
    "distill": "a backbone before and after splat and distil: probes on held-out scenes, ablations, clicks",
    "solvers": "features in closed form against gradient descent of the same model: seconds to the same loss",
    "plan": "what `ff plan` foretells against what `ff fit` takes: minutes, memory, disk",
    "memory": "peak memory of lifting features against its budget, for every solver",
    "faults": "commands killed at random moments: what is on disk is whole, and the next run ends well",
    "hostile": "every reader of files against damaged ones: a value or one line, no hang, no memory asked for",
    "viewer": "the viewer in a real browser: seconds to pictures and selections, hurry, hours of use",
    "scaling": "time and memory of the CPU rasterizer against Gaussians, pixels, channels and threads, with plots",
}


def main() -> int:
    name, *rest = sys.argv[1:] or ["quality"]
    if name not in BENCHMARKS:
        print("benchmarks:", *(f"  {key}: {what}" for key, what in BENCHMARKS.items()), sep="\n")
        return 0 if name in ("-h", "--help") else 2
    # as `ff` does, before torch is loaded: idle OpenMP threads must not spin beside the rasterizer's
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    return import_module(f"benchmarks.{name}").main(rest)


if __name__ == "__main__":
    raise SystemExit(main())
