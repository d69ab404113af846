"""Tensors in JSON come back exactly; what is no tensor is refused."""

import json

import pytest
import torch

from featurefields.json_tensors import packed, unpacked


@pytest.mark.parametrize("shape", [(0,), (1,), (13,), (5, 3)])
def test_they_come_back_exactly(shape: tuple[int, ...], generator: torch.Generator):
    numbers = torch.randn(shape, generator=generator)
    for tensor in (numbers, numbers > 0):
        record = json.loads(json.dumps(packed(tensor)))
        assert torch.equal(unpacked(record, tensor.dtype), tensor)


def test_rows_of_older_scripts_are_read():
    mask = torch.tensor([True, False, True, True, False, False, True, False, True])
    older = {"of": 9, "zlib": packed(mask)["zlib"]}
    assert torch.equal(unpacked(older, torch.bool), mask)


@pytest.mark.parametrize("change", [{"shape": [-1]}, {"shape": [9, 9, 9]}, {"shape": [90]}, {"zlib": "AAAA"}])
def test_what_does_not_fit_is_refused(change: dict):
    record = packed(torch.ones(9, dtype=torch.bool)) | change
    with pytest.raises(ValueError):
        unpacked(record, torch.bool)


def test_a_small_record_cannot_ask_for_much_memory():
    bomb = packed(torch.zeros(10_000_000, dtype=torch.bool)) | {"shape": [9]}
    with pytest.raises(ValueError, match="have not the 2 bytes"):
        unpacked(bomb, torch.bool)
