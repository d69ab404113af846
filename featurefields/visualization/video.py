"""Videos, frame by frame, through PyAV (the libraries of FFmpeg; no program of that name is needed).

Letters: h w pixels.

Frames are sRGB. They are stored as limited-range YCbCr with the BT.709 matrix, and the file says so, so that players
give the colours back that went in; colours are kept for every second pixel in both directions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from featurefields.atomic import atomic_path
from featurefields.errors import UnavailableError, WriteError

if TYPE_CHECKING:
    from av.container import OutputContainer

ENCODERS: dict[str, tuple[tuple[str, dict[str, str]], ...]] = {
    ".mp4": (
        ("libx264", {"crf": "18", "preset": "medium"}),
        ("libopenh264", {"b": "8000000"}),
        ("mpeg4", {"qscale": "3"}),
    ),
    ".webm": (
        ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"}),
        ("libvpx", {"crf": "8", "b": "8000000", "deadline": "good", "cpu-used": "4"}),
    ),
}
"""Encoders by file ending with their settings, the first that is there is taken."""
BT709, SRGB_CURVE, LIMITED = 1, 13, 1
"""Codes of ITU-T H.273 for the matrix and primaries, the transfer curve, and of FFmpeg for the range."""


class VideoWriter:
    """An open video file; `add` appends a frame. Made by `write_video`."""

    def __init__(self, container: "OutputContainer", path: Path, fps: float) -> None:
        self._container, self._path, self._fps = container, path, Fraction(fps).limit_denominator(1001)
        self._stream: Any = None
        self.frames = 0
        self.size = (0, 0)

    def add(self, image: Float[Tensor, "h w 3"]) -> None:
        """Append a frame of display colours in 0..1; odd sizes are made even by repeating the last row or column.

        Raises:
            WriteError: its size differs from the first frame's, or the encoder refused it.
        """
        from av import FFmpegError, VideoFrame
        from av.video.reformatter import ColorRange, Colorspace

        size = (image.shape[1], image.shape[0])
        if self.frames == 0:
            self.size = size
            self._stream = self._opened()
        if size != self.size:
            raise WriteError(
                f"cannot write {self._path}: frame {self.frames} has {size[0]} x {size[1]} pixels, the first one has "
                f"{self.size[0]} x {self.size[1]}; draw all frames at one size"
            )
        frame = VideoFrame.from_ndarray(_even(_bytes(image)), format="rgb24")
        try:
            frame = frame.reformat(
                format="yuv420p",
                src_colorspace=Colorspace.ITU709,
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts = self.frames
            self._container.mux(self._stream.encode(frame))
        except FFmpegError as error:
            raise WriteError(f"cannot write {self._path}: the encoder refused ({error})") from error
        self.frames += 1

    def finish(self) -> None:
        """Write what the encoder still holds. Raises `WriteError` when there was no frame."""
        if self._stream is None:
            raise WriteError(f"cannot write {self._path}: a video needs at least one frame")
        self._container.mux(self._stream.encode())

    def _opened(self) -> Any:
        """The stream for frames of the size of the first one."""
        from av import Codec, FFmpegError

        reasons = []
        for name, settings in ENCODERS[self._path.suffix.lower()]:
            try:
                Codec(name, "w")
            except (FFmpegError, ValueError) as error:
                reasons.append(f"{name}: {error}")
                continue
            stream: Any = self._container.add_stream(name, rate=self._fps, options=settings)
            stream.width, stream.height = (side + side % 2 for side in self.size)
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.time_base = 1 / self._fps
            context.colorspace = context.color_primaries = BT709
            context.color_trc, context.color_range = SRGB_CURVE, LIMITED
            return stream
        raise UnavailableError(
            f"no encoder for {self._path.suffix} in the installed PyAV ({'; '.join(reasons)}); install another build: "
            "pip install --force-reinstall av"
        )


@contextmanager
def write_video(path: str | Path, *, fps: float = 30.0, overwrite: bool = False) -> Iterator[VideoWriter]:
    """A video file .mp4 (H.264) or .webm (VP9) to add frames to; it appears at `path` when the block ends well.

    Args:
        path: where to; its ending decides the format.
        fps: frames per second, more than 0.
        overwrite: replace what is there.

    Raises:
        WriteError: another ending, `fps` is no rate, no frames, frames of different sizes, the file exists, or the
            system refused.
        UnavailableError: PyAV, or an encoder in it, is missing.
    """
    path = Path(path)
    if path.suffix.lower() not in ENCODERS:
        raise WriteError(f"cannot write {path}: a video ends in {' or '.join(ENCODERS)}, not '{path.suffix}'")
    if not 0.1 <= fps <= 1000:
        raise WriteError(f"cannot write {path}: {fps} frames per second were asked for; ask for 0.1 to 1000")
    try:
        import av
    except ImportError as error:
        raise UnavailableError(
            f"videos need PyAV, which cannot be loaded ({error}); pip install av"
        ) from error
    with atomic_path(path, overwrite=overwrite) as temporary:
        options = {"movflags": "+faststart"} if path.suffix.lower() == ".mp4" else {}
        try:
            with av.open(str(temporary), "w", options=options) as container:
                writer = VideoWriter(container, path, fps)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise WriteError(f"cannot write {path}: {error}; nothing was changed") from error


def _bytes(image: Float[Tensor, "h w 3"]) -> np.ndarray:
    levels = image.detach().to("cpu", torch.float32).nan_to_num().clamp(0.0, 1.0) * 255.0
    return levels.round().to(torch.uint8).numpy()


def _even(pixels: np.ndarray) -> np.ndarray:
    """With the last row and column repeated where the height or width is odd."""
    grown = ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0))
    return np.ascontiguousarray(np.pad(pixels, grown, mode="edge"))
