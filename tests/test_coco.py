"""Masks as COCO JSON: every run, every number, and what other tools read."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from featurefields.errors import FileFormatError, WriteError
from featurefields.files.coco import CocoMask, mask_of_runs, run_lengths, write_coco


def decoded(counts: str, height: int, width: int) -> Tensor:
    """By the letter of the format: bits of every character in turn, then pixels down the columns one at a time."""
    lengths: list[int] = []
    bits: list[int] = []
    for character in counts:
        code = ord(character) - 48
        bits += [(code >> place) & 1 for place in range(5)]
        if code & 32:
            continue
        number = sum(bit << place for place, bit in enumerate(bits[:-1])) - (bits[-1] << (len(bits) - 1))
        if len(lengths) >= 3:
            number += lengths[-2]
        lengths.append(number)
        bits = []
    assert not bits and all(length >= 0 for length in lengths)
    mask = torch.zeros(height, width, dtype=torch.bool)
    at = 0
    for turn, length in enumerate(lengths):
        for _ in range(length):
            mask[at % height, at // height] = turn % 2 == 1
            at += 1
    assert at == height * width
    return mask


def random_mask(height: int, width: int, share: float, seed: int, *, smooth: bool = False) -> Tensor:
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < share
    if smooth:
        mask = torch.nn.functional.max_pool2d(mask[None, None].float(), 5, 1, 2)[0, 0] > 0
    return mask


class TestRuns:
    @given(
        height=st.integers(1, 24),
        width=st.integers(1, 24),
        share=st.floats(0, 1),
        seed=st.integers(0, 99),
        smooth=st.booleans(),
    )
    def test_brute_force_both_ways(self, height: int, width: int, share: float, seed: int, smooth: bool):
        mask = random_mask(height, width, share, seed, smooth=smooth)
        runs = run_lengths(mask)
        assert runs["size"] == [height, width]
        assert torch.equal(decoded(str(runs["counts"]), height, width), mask)
        assert torch.equal(mask_of_runs(runs), mask)

    def test_long_runs_take_several_characters_and_falling_ones_a_sign(self):
        mask = torch.zeros(300, 40, dtype=torch.bool)
        mask[10:, 3], mask[5:8, 20:] = True, True
        runs = run_lengths(mask)
        assert max(len(str(runs["counts"])), 0) > 4
        assert torch.equal(decoded(str(runs["counts"]), 300, 40), mask)

    def test_known_texts(self):
        """Written by hand from the format: 3 zeros and 3 ones; then the lengths 0 1 2 3 as 0, 1, 2, 3 - 1."""
        mask = torch.tensor([[False, True], [False, True], [False, True]])
        assert run_lengths(mask) == {"size": [3, 2], "counts": "33"}
        assert run_lengths(torch.tensor([[True, False, False, True, True, True]]))["counts"] == "0122"

    def test_lists_of_lengths_are_read_too(self):
        assert torch.equal(
            mask_of_runs({"size": [2, 2], "counts": [1, 2, 1]}), torch.tensor([[False, True], [True, False]])
        )

    @pytest.mark.parametrize(
        "runs",
        [
            {},
            {"size": [2, 2]},
            {"size": "2x2", "counts": "4"},
            {"size": [2, 2], "counts": [1, 2]},
            {"size": [2, 2], "counts": [5, -1]},
            {"size": [2, 2], "counts": "5"},
            {"size": [2, 2], "counts": "4\u00e9"},
            {"size": [2, 2], "counts": "T"},
        ],
    )
    def test_what_does_not_add_up_is_one_clear_line(self, runs: dict[str, object]):
        with pytest.raises(FileFormatError, match="a COCO mask") as caught:
            mask_of_runs(runs)
        assert "\n" not in str(caught.value)

    def test_as_pycocotools_does_it(self):
        tools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
        import numpy as np

        for seed in range(20):
            mask = random_mask(31, 17, 0.4, seed, smooth=seed % 2 == 0)
            theirs = tools.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
            assert run_lengths(mask)["counts"] == theirs["counts"].decode()


class TestDocument:
    def test_everything_a_reader_needs(self, tmp_path: Path):
        mask = torch.zeros(6, 8, dtype=torch.bool)
        mask[2:4, 3:8] = True
        mask[3, 3] = False
        masks = [
            CocoMask.of(1, 0, mask),
            CocoMask.of(0, 1, torch.zeros(4, 4, dtype=torch.bool)),
            CocoMask.of(0, 1, torch.ones(4, 4, dtype=torch.bool)),
        ]
        pictures = [("images/a.png", (4, 4)), ("images/b.png", (8, 6))]
        path = write_coco(tmp_path / "masks.json", pictures, ["cup", "ball"], masks, description="two")
        document = json.loads(path.read_text())
        assert document["images"][1] == {"id": 2, "file_name": "images/b.png", "width": 8, "height": 6}
        assert [entry["name"] for entry in document["categories"]] == ["cup", "ball"]
        first, second = document["annotations"]  # the empty mask is left out
        assert (first["id"], first["image_id"], first["category_id"]) == (1, 2, 1)
        assert (first["area"], first["bbox"], first["iscrowd"]) == (9, [3, 2, 5, 2], 0)
        assert torch.equal(mask_of_runs(first["segmentation"]), mask)
        assert (second["id"], second["image_id"], second["category_id"]) == (2, 1, 2)
        assert second["area"] == 16 and second["bbox"] == [0, 0, 4, 4]

    def test_what_is_there_is_kept(self, tmp_path: Path):
        path = tmp_path / "masks.json"
        path.write_text("mine")
        with pytest.raises(WriteError, match="exists already"):
            write_coco(path, [], [], [])
        assert path.read_text() == "mine"
        write_coco(path, [], [], [], overwrite=True)
        assert json.loads(path.read_text())["annotations"] == []
