"""Depth networks that see one picture: loading, alignment, and as a source of geometry. No real weights are needed."""

from pathlib import Path

import pytest
import torch
from tiny_surfaces import depth_and_colour, pictures

from featurefields.errors import FileFormatError, FittingError, UnavailableError
from featurefields.lifting.alignment import aligned, front_places
from featurefields.lifting.geometry import Given, choose_provider
from featurefields.lifting.mono_depth import MonoDepth
from featurefields.vision.depth_model import load_depth_model


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Depth Anything of 4 layers with random weights, saved as `transformers` saves it."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config

    backbone = Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, image_size=28, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    torch.manual_seed(3)
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        head_hidden_size=8, patch_size=14,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("depth") / "tiny"
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"size": {"height": 56, "width": 56}, "ensure_multiple_of": 14, '
        '"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}'
    )
    return folder


def points_of(count: int = 3, step: int = 7) -> torch.Tensor:
    """Sparse points on what the cameras see."""
    found = []
    for view in pictures(count):
        depth, _ = depth_and_colour(view.camera)
        found.append(view.camera.unproject(depth)[depth > 0][::step])
    return torch.cat(found)


def true_depth_of(picture: torch.Tensor) -> torch.Tensor:
    """The depth map of the view whose picture this is."""
    for view in pictures(3):
        if torch.equal(view.picture, picture):
            return depth_and_colour(view.camera)[0]
    raise AssertionError("not one of the pictures")


def test_a_saved_model_is_loaded_and_looks_at_any_size(tiny_model: Path):
    model = load_depth_model(str(tiny_model))
    assert (model.side, model.multiple) == (56, 14)
    picture = torch.rand(3, 40, 70, generator=torch.Generator().manual_seed(1))
    found = model(picture)
    assert found.shape == (40, 70) and bool(torch.isfinite(found).all())
    assert torch.equal(found, model(picture))
    assert not torch.equal(found, model(1 - picture))


def test_what_is_no_depth_model_is_refused(tmp_path: Path, tiny_model: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UnavailableError, match=r"no \.safetensors"):
        load_depth_model(str(empty))
    with pytest.raises(UnavailableError, match="no such folder"):
        load_depth_model(str(tmp_path / "nowhere"))
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 2000 if file.suffix == ".safetensors" else None])
    with pytest.raises(FileFormatError, match="cannot load depth model"):
        load_depth_model(str(broken))


def test_alignment_is_blind_to_outliers(generator: torch.Generator):
    values = torch.rand(400, generator=generator) + 0.2
    depths = 1 / (0.6 * values + 0.3)
    exact = aligned(values, depths)
    assert exact is not None and exact.error < 1e-5
    assert exact.scale == pytest.approx(0.6, rel=1e-3) and exact.shift == pytest.approx(0.3, rel=1e-3)
    depths[::3] *= 1 + torch.rand(134, generator=generator)  # a third lies behind
    robust = aligned(values, depths)
    assert robust is not None
    assert robust.scale == pytest.approx(0.6, rel=0.02) and robust.shift == pytest.approx(0.3, rel=0.03)
    assert aligned(torch.ones(50), torch.linspace(1, 2, 50)) is None  # nothing varies


def test_points_behind_others_are_not_seen():
    pixels = torch.tensor([[10.0, 10.0], [10.2, 10.1], [50.0, 20.0], [90.0, 10.0]])
    seen = front_places(pixels, torch.tensor([1.0, 2.0, 2.0, 1.0]), (80, 60))
    assert seen.tolist() == [True, False, True, False]


@pytest.mark.parametrize("kind", ["depth", "inverse depth"])
def test_relative_depth_of_either_kind_gets_the_scenes_scale(kind: str):
    def network(picture: torch.Tensor) -> torch.Tensor:
        true = true_depth_of(picture)
        inverse = torch.where(true > 0, 1 / true.clamp(min=1e-6), 0.0)
        return 7 * inverse + 2 if kind == "inverse depth" else torch.where(true > 0, 40 * true, 4000.0)

    views = pictures(3)
    found = MonoDepth(network, points_of())(views)
    for view, one in zip(views, found, strict=True):
        true, _ = depth_and_colour(view.camera)
        both = (true > 0) & (one.depth > 0)
        assert float(both.sum()) > 0.9 * float((true > 0).sum())
        assert float(((one.depth - true).abs() / true.clamp(min=1e-6))[both].median()) < 0.01
        assert 0.7 < float(one.confidence[both].mean()) <= 0.9


def test_without_points_the_sweep_tells_the_scale():
    def network(picture: torch.Tensor) -> torch.Tensor:
        true = true_depth_of(picture)
        return torch.where(true > 0, 3 / true.clamp(min=1e-6), 0.0)

    views = pictures(3)
    found = MonoDepth(network, None)(views)
    true, _ = depth_and_colour(views[1].camera)
    both = (true > 0) & (found[1].depth > 0)
    assert float(((found[1].depth - true).abs() / true.clamp(min=1e-6))[both].median()) < 0.02


def test_what_cannot_be_aligned_is_refused():
    with pytest.raises(FittingError, match="scale is unknown"):
        MonoDepth(lambda picture: torch.zeros_like(picture[0]), points_of())(pictures(3))


def test_the_provider_goes_by_the_name_of_its_model(tiny_model: Path):
    provider = choose_provider(f"transformers:{tiny_model}", Given(points=points_of()))
    assert provider.name == f"transformers:{tiny_model}"
    try:
        found = provider(pictures(3))
    except FittingError:  # random weights may fall with depth in every view, which is told
        return
    assert len(found) == 3 and all(bool(torch.isfinite(one.depth).all()) for one in found)
