"""L*a*b* of known colours."""

import cv2
import numpy as np
import pytest
import torch

from featurefields.maths.lab import lab_from_srgb


def test_colours_are_where_opencv_finds_them() -> None:
    srgb = torch.rand(500, 3, generator=torch.Generator().manual_seed(0))
    wanted = cv2.cvtColor(srgb.numpy()[None], cv2.COLOR_RGB2LAB)[0] / 100
    assert np.abs(lab_from_srgb(srgb).numpy() - wanted).max() < 5e-3


def test_white_is_as_light_as_can_be_and_grey_has_no_hue() -> None:
    light = lab_from_srgb(torch.tensor([[1.0, 1, 1], [0, 0, 0], [0.5, 0.5, 0.5]]))
    assert light[:, 0].tolist() == pytest.approx([1.0, 0.0, 0.534], abs=2e-3)
    assert float(light[:, 1:].abs().max()) < 2e-3
