"""Time and memory against the number of views."""

import argparse
import json
import subprocess
import sys

COUNTS = (2, 4, 8, 16)


def measure_scaling(options: argparse.Namespace) -> list[dict[str, object]]:
    """One row a number of views, for every source of geometry; each case in a process of its own (Linux)."""
    rows: list[dict[str, object]] = []
    for name in options.geometry:
        for count in COUNTS:
            told = json.dumps(
                {"data": str(options.data), "downscale": options.downscale, "name": name, "count": count}
            )
            command = [sys.executable, "-c", "from benchmarks.lift.scaling import one; one()", told]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no reason told"])[-1]
                raise SystemExit(f"{count} views with {name} failed: {last}")
            rows.append({"geometry": name, "views": count, **json.loads(done.stdout)})
    return rows


def one() -> None:
    """One case, as the JSON object that is the last argument tells; prints what it took."""
    import time
    from pathlib import Path

    from benchmarks.lift.subjects import lifted_field, pictures_of, provider_of, the_scene
    from benchmarks.memory import give_back_freed_memory
    from benchmarks.raster.measurements import status
    from featurefields.lifting.context import spread_views
    from featurefields.raster import choose_rasterizer

    told = json.loads(sys.argv[-1])
    options = argparse.Namespace(data=Path(told["data"]), downscale=told["downscale"])
    scene, rasterizer = the_scene(options), choose_rasterizer()
    provider = provider_of(scene, told["name"], rasterizer)
    warm = pictures_of(scene, spread_views(scene.split("train"), 2))
    lifted_field(warm, provider(warm), rasterizer)  # compiles what is compiled on first use
    give_back_freed_memory()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # resets the high-water mark
    before = status("VmRSS")
    pictures = pictures_of(scene, spread_views(scene.split("train"), told["count"]))
    started = time.process_time()
    geometry = provider(pictures)
    middle = time.process_time()
    field = lifted_field(pictures, geometry, rasterizer)
    ended = time.process_time()
    print(
        json.dumps(
            {
                "depth s": middle - started,
                "merging s": ended - middle,
                "s a view": (ended - started) / told["count"],
                "peak MB": (status("VmHWM") - before) / 1e3 * 1.024,
                "Gaussians": len(field),
            }
        )
    )
