"""Selections written and read back."""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featurefields.errors import FileFormatError, WriteError
from featurefields.files import read_selection, write_container, write_selection
from featurefields.selection import Selection

HOW = {
    "clicks": [{"view": "images/ä 1.jpg", "xy": [12.5, 3.0], "positive": True}],
    "threshold": 0.65,
    "text": None,
}


def selection(count: int = 9, seed: int = 0) -> Selection:
    generator = torch.Generator().manual_seed(seed)
    score = torch.rand(count, generator=generator) * 2 - 1
    return Selection(score > 0.1, score, "0123456789abcdef", HOW)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(count=st.integers(0, 40), seed=st.integers(0, 1000))
def test_round_trip_is_exact(tmp_path: Path, count: int, seed: int) -> None:
    written = selection(count, seed)
    read = read_selection(write_selection(written, tmp_path / "s.safetensors", overwrite=True))
    assert read.mask.dtype == torch.bool and torch.equal(read.mask, written.mask)
    assert read.score.dtype == torch.float32 and torch.equal(read.score, written.score)
    assert (read.field_id, read.how) == (written.field_id, HOW)


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = write_selection(selection(), tmp_path / "s.safetensors")
    before = path.read_bytes()
    with pytest.raises(WriteError, match="exists already"):
        write_selection(selection(seed=3), path)
    assert path.read_bytes() == before


def test_what_is_not_json_is_refused_before_writing(tmp_path: Path) -> None:
    one = selection()
    with pytest.raises(WriteError, match="does not fit into JSON"):
        write_selection(
            Selection(one.mask, one.score, "", {"bad": torch.zeros(2)}), tmp_path / "s.safetensors"
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mask", "score", "header", "message"),
    [
        (torch.zeros(3), torch.zeros(3), {"field_id": "", "how": {}}, "do not fit together"),
        (torch.zeros(3).bool(), torch.zeros(4), {"field_id": "", "how": {}}, "do not fit together"),
        (torch.zeros(3).bool(), torch.zeros(3).long(), {"field_id": "", "how": {}}, "do not fit together"),
        (torch.zeros(3, 1).bool(), torch.zeros(3, 1), {"field_id": "", "how": {}}, "do not fit together"),
        (torch.zeros(3).bool(), None, {"field_id": "", "how": {}}, "no 'score'"),
        (torch.zeros(3).bool(), torch.zeros(3), {"how": {}}, "no 'field_id'"),
        (torch.zeros(3).bool(), torch.zeros(3), {"field_id": "", "how": 3}, "the selection cannot be read"),
    ],
)
def test_a_damaged_selection_is_one_clear_line(tmp_path: Path, mask, score, header, message: str) -> None:
    tensors = {"mask": mask} | ({} if score is None else {"score": score})
    path = write_container(tmp_path / "s.safetensors", tensors, header, kind="selection")
    with pytest.raises(FileFormatError, match=message) as raised:
        read_selection(path)
    assert "\n" not in str(raised.value)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = write_container(tmp_path / "c.safetensors", {}, {}, kind="checkpoint")
    with pytest.raises(FileFormatError, match="is a featurefields checkpoint, not a selection"):
        read_selection(path)
