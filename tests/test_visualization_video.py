"""Videos through PyAV, read back frame by frame."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from featurefields.errors import UnavailableError, WriteError
from featurefields.visualization.video import write_video

av = pytest.importorskip("av", reason="PyAV is not installed")
COLOURS = torch.tensor([[0.85, 0.15, 0.1], [0.1, 0.6, 0.2], [0.15, 0.25, 0.9], [0.9, 0.8, 0.1]])


def frame(number: int, size: tuple[int, int] = (48, 32)) -> torch.Tensor:
    """Four flat colours, moved on by one in every frame."""
    halves = COLOURS.roll(number, 0).reshape(2, 2, 3)
    return halves.repeat_interleave(size[1] // 2, 0).repeat_interleave(size[0] // 2, 1)


def decoded(path: Path, **reformat) -> list[torch.Tensor]:
    with av.open(str(path)) as container:
        frames = [each.to_ndarray(format="rgb24", **reformat) for each in container.decode(video=0)]
    return [torch.from_numpy(np.array(each)).float() / 255 for each in frames]


@pytest.mark.parametrize(("ending", "codec", "levels"), [(".mp4", "h264", 4), (".webm", "vp9", 8)])
def test_what_goes_in_comes_out(tmp_path: Path, ending: str, codec: str, levels: int):
    path = tmp_path / f"film{ending}"
    with write_video(path, fps=12.5) as film:
        for number in range(5):
            film.add(frame(number))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == codec
        assert float(stream.average_rate) == pytest.approx(12.5)
        assert (stream.codec_context.width, stream.codec_context.height) == (48, 32)
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert container.duration / 1e6 == pytest.approx(5 / 12.5, abs=0.02)
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (1, 1)
    shown = decoded(path)
    assert len(shown) == 5
    for number, picture in enumerate(shown):
        middle = (slice(4, None, 16), slice(6, None, 24))
        assert (picture[middle] - frame(number)[middle]).abs().max() < levels / 255


def test_colours_would_be_wrong_in_the_other_matrix(tmp_path: Path):
    from av.video.reformatter import Colorspace

    path = tmp_path / "film.mp4"
    with write_video(path) as film:
        film.add(frame(0))
    (right,) = decoded(path)
    (wrong,) = decoded(path, src_colorspace=Colorspace.ITU601)
    assert (right[4, 6] - COLOURS[0]).abs().max() < 4 / 255 < (wrong[4, 6] - COLOURS[0]).abs().max()


def test_odd_sizes_get_a_row_and_a_column(tmp_path: Path):
    path = tmp_path / "film.mp4"
    with write_video(path) as film:
        film.add(torch.rand(31, 45, 3, generator=torch.Generator().manual_seed(1)))
    (picture,) = decoded(path)
    assert picture.shape == (32, 46, 3)


def test_nothing_is_lost_when_it_goes_wrong(tmp_path: Path):
    path = tmp_path / "film.mp4"
    path.write_bytes(b"mine")
    with pytest.raises(WriteError, match="--overwrite"), write_video(path):
        pass
    with pytest.raises(WriteError, match="at least one frame"), write_video(path, overwrite=True):
        pass
    with (
        pytest.raises(WriteError, match=r"32 x 24 pixels.*48 x 32"),
        write_video(path, overwrite=True) as film,
    ):
        film.add(frame(0))
        film.add(frame(0, (32, 24)))
    with pytest.raises(KeyboardInterrupt), write_video(path, overwrite=True) as film:
        film.add(frame(0))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"mine" and list(tmp_path.iterdir()) == [path]
    with write_video(path, overwrite=True) as film:
        film.add(frame(0))
    assert len(decoded(path)) == 1


@pytest.mark.parametrize(
    ("name", "fps", "message"),
    [("a.avi", 30.0, "ends in .mp4 or .webm"), ("a.mp4", 0.0, "frames per second")],
)
def test_what_is_no_video_is_told(tmp_path: Path, name: str, fps: float, message: str):
    with pytest.raises(WriteError, match=message), write_video(tmp_path / name, fps=fps):
        pass
    assert not list(tmp_path.iterdir())


def test_without_pyav_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnavailableError, match="pip install av"), write_video(tmp_path / "a.mp4"):
        pass
