"""A video along a path."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from featurefields.camera import Camera
from featurefields.viewer.chores import Progress
from featurefields.visualization.video import write_video


def film(
    cameras: Sequence[Camera], draw: Callable[[Camera], Tensor], path: Path, fps: float, progress: Progress
) -> Path:
    """Write a video of what `draw` gives (h w 3) for every camera. Raises as `write_video` does."""
    with write_video(path, fps=fps, overwrite=True) as video:
        for index, camera in enumerate(cameras):
            progress(f"filming {index + 1} of {len(cameras)} frames", index / len(cameras))
            video.add(draw(camera))
    return path
