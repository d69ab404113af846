"""`python -m assets.practice --output DIR --scenes N --seed S`: write practice scenes without training."""

import argparse
import time
from pathlib import Path

from .folder import write_practice_scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    started, done = time.monotonic(), 0

    def told() -> None:
        nonlocal done
        done += 1
        if done % 20 == 0:
            print(f"{done}/{options.scenes} scenes, {time.monotonic() - started:.0f} s", flush=True)

    write_practice_scenes(options.output, options.seed, options.scenes, on_scene=told)


if __name__ == "__main__":
    main()
