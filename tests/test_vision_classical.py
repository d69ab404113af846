"""The default extractor and the choice of extractors by name."""

import pytest
import torch

from featurefields.errors import UnavailableError, UnknownNameError
from featurefields.vision.classical import ClassicalExtractor, lab_from_srgb
from featurefields.vision.interface import Extractor, fit_to_stride, grid_of
from featurefields.vision.select import EXTRACTORS, choose_extractor


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.cosine_similarity(a, b, dim=0))


def test_shape_length_and_determinism(generator):
    extractor = ClassicalExtractor()
    images = torch.rand(2, 3, 40, 52, generator=generator)
    features = extractor(images)
    assert features.shape == (2, extractor.dim, 10, 13)
    assert 48 <= extractor.dim <= 96
    assert torch.equal(features, extractor(images))
    torch.testing.assert_close(features[1:], extractor(images[1:]))
    lengths = features.norm(dim=1)
    assert (lengths > 0.9).all()
    assert (lengths < 1.0001).all()


@pytest.mark.parametrize(("size", "grid"), [((1, 1), (1, 1)), ((41, 50), (10, 13)), ((4, 400), (1, 100))])
def test_any_size(size, grid):
    features = ClassicalExtractor()(torch.rand(1, 3, size[1], size[0]))
    assert features.shape[2:] == (grid[1], grid[0])
    assert features.isfinite().all()
    assert grid_of(size, 4) == grid


def test_black_white_and_out_of_range_images_are_finite():
    for level in (-0.1, 0.0, 0.003, 0.5, 1.0, 1.1):
        assert ClassicalExtractor()(torch.full((1, 3, 16, 16), level)).isfinite().all()


def test_lab_of_known_colours():
    """Published Lab values (D65) of the sRGB primaries, white and mid grey."""
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0.5, 0.5, 0.5], [0, 0, 0]])
    lab = lab_from_srgb(colours.T[None, :, :, None])[0, :, :, 0].T
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [100, 0, 0],
                [53.39, 0, 0], [0, 0, 0]]  # fmt: skip
    torch.testing.assert_close(lab, torch.tensor(expected), atol=0.03, rtol=0)


def test_shift_by_patches_moves_the_grid(generator):
    extractor = ClassicalExtractor()
    image = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 164, 164, generator=generator), 5, 1)
    whole, cut = extractor(image), extractor(image[..., 8:, 12:])
    inside = slice(9, -9)  # beyond the reach of the border
    torch.testing.assert_close(
        whole[..., 2:, 3:][..., inside, inside], cut[..., inside, inside], atol=0.02, rtol=0
    )
    unmoved = (whole[..., :-2, :-3][..., inside, inside] - cut[..., inside, inside]).abs().max()
    assert unmoved > 0.1


def test_surfaces_are_told_apart_and_shading_is_not():
    """Two colours under a strong shading ramp: a surface resembles itself more than its neighbour."""
    red, blue = torch.tensor([0.8, 0.25, 0.2]), torch.tensor([0.2, 0.3, 0.8])
    image = torch.empty(3, 96, 96)
    image[:, :, :48], image[:, :, 48:] = red[:, None, None], blue[:, None, None]
    image = image * torch.linspace(0.6, 1.0, 96)[:, None]
    features = ClassicalExtractor()(image[None])[0]
    dark_red, bright_red, bright_blue = features[:, 5, 3], features[:, 18, 3], features[:, 18, 20]
    assert cosine(dark_red, bright_red) > 0.8
    assert cosine(bright_red, bright_blue) < 0.5


def test_texture_matters():
    """Stripes across and along of one colour histogram differ in the orientation group only."""
    stripes = 0.3 + 0.4 * (torch.arange(96) // 4 % 2).float()
    along = stripes.expand(3, 96, 96)
    features = ClassicalExtractor()(torch.stack([along, along.mT]))[:, :, 12, 12]
    similarity = cosine(features[0], features[1])
    assert 0.85 < similarity < 0.97
    assert cosine(features[0], features[0].clone()) > 0.999


def test_names():
    assert isinstance(choose_extractor(), ClassicalExtractor)
    assert isinstance(choose_extractor("classical"), Extractor)
    assert EXTRACTORS.names()[:5] == ["classical", "dinov2", "dinov2-base", "transformers", "onnx"]
    with pytest.raises(UnknownNameError, match=r"unknown feature extractor 'dino' .*classical, dinov2"):
        choose_extractor("dino")
    with pytest.raises(UnknownNameError, match="unknown feature extractor 'clip'"):
        choose_extractor("clip:vit-b")
    with pytest.raises(UnknownNameError, match="onnx:<file>"):
        choose_extractor("onnx")
    with pytest.raises(UnknownNameError, match="transformers:<local folder or hub id>"):
        choose_extractor("transformers:")
    with pytest.raises(UnknownNameError, match="takes nothing after the colon, found 'fast'"):
        choose_extractor("classical:fast")


def test_arguments_reach_the_extractor(tmp_path):
    with pytest.raises(UnavailableError, match=r"a:b\.onnx"):
        choose_extractor(f"onnx:{tmp_path}/a:b.onnx")
    with pytest.raises(UnavailableError, match="no such folder"):
        choose_extractor(f"transformers:{tmp_path}/none")


@pytest.mark.parametrize(("name", "hub_id"), [("dinov2", "small"), ("dinov2-base", "base")])
def test_short_names_of_hub_models(monkeypatch, name, hub_id):
    asked = []

    def refuse(which):
        asked.append(which)
        raise UnavailableError("no weights here")

    monkeypatch.setattr("featurefields.vision.transformers_backbone.weights_folder", refuse)
    with pytest.raises(UnavailableError):
        choose_extractor(name)
    assert asked == [f"facebook/dinov2-with-registers-{hub_id}"]


def test_fit_to_stride_leaves_what_fits(generator):
    images = torch.rand(1, 3, 28, 42, generator=generator)
    assert fit_to_stride(images, 14) is images
    assert fit_to_stride(images[..., :20, :22], 14).shape == (1, 3, 14, 28)
    assert fit_to_stride(images[..., :21, :20], 14).shape == (1, 3, 28, 14)
    level = fit_to_stride(torch.full((1, 3, 33, 17), 0.25), 14)
    torch.testing.assert_close(level, torch.full((1, 3, 28, 14), 0.25))
