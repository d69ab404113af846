"""Selections as pictures: who shows what, borders at the photo's edges, and the pixels of the photo file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_fields import coverage, looking, part, two_balls
from torch import Tensor

from featurefields.lens import Lens
from featurefields.raster import Rasterizer, choose_rasterizer
from featurefields.readers import read_scene
from featurefields.readers.picture import PhotoFile
from featurefields.segmentation.boundary import BoundaryConfig, refine
from featurefields.segmentation.masks import in_photo, label_picture, mask_share, mask_shares

CPU = choose_rasterizer("cpu")
VIEW = looking((3.0, 0.0, 1.6))
NAMES = ("red", "blue", "floor")


class TestShares:
    def test_several_at_once_are_each_by_itself(self, backend: Rasterizer, device: torch.device):
        field = two_balls().to(device)
        camera = VIEW.to(field.splats.means)
        masks = torch.stack([part(name) for name in NAMES], -1).to(device)
        shares = mask_shares(field, masks, camera, rasterizer=backend)
        for index in range(3):
            alone = mask_share(field, masks[:, index], camera, rasterizer=backend)
            assert torch.allclose(shares[..., index], alone, atol=1e-6)
        assert torch.allclose(shares.sum(-1).cpu(), coverage(two_balls(), VIEW, torch.ones(264)), atol=1e-4)

    def test_the_larger_share_has_the_pixel(self):
        shares = torch.tensor([[[0.6, 0.7], [0.9, 0.55], [0.3, 0.1], [0.2, 0.8]]])
        assert label_picture(shares > 0.5, shares).tolist() == [[2, 1, 0, 2]]
        given_masks = torch.tensor([[[True, False], [False, True], [True, False], [False, False]]])
        assert label_picture(given_masks, shares).tolist() == [[1, 2, 1, 0]]


def disc(size: int, radius: float, centre: tuple[float, float] | None = None) -> Tensor:
    """Distance inside of a disc's border (h w), negative outside."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    cx, cy = centre or (size / 2, size / 2)
    return radius - ((x - cx) ** 2 + (y - cy) ** 2).sqrt()


def intersection(one: Tensor, other: Tensor) -> float:
    return float((one & other).sum() / (one | other).sum())


def photo_of(mask: Tensor, noise: float = 0.02) -> Tensor:
    """A grey disc before another grey, with noise."""
    colours = torch.where(mask[..., None], torch.tensor([0.7, 0.5, 0.4]), torch.tensor([0.3, 0.35, 0.5]))
    return (colours + noise * torch.randn(colours.shape, generator=torch.Generator().manual_seed(0))).clamp(
        0, 1
    )


class TestBoundary:
    @pytest.mark.parametrize("shift", [(1.5, 0.0), (-1.0, 1.0), (0.0, -1.5)])
    def test_a_soft_border_goes_to_the_edge(self, shift: tuple[float, float]):
        truth = disc(96, 30) > 0
        share = torch.sigmoid(disc(96, 30, (48 + shift[0], 48 + shift[1])) / 1.5)
        before, after = intersection(share > 0.5, truth), intersection(refine(share, photo_of(truth)), truth)
        assert after > before + 0.02 and after > 0.97

    def test_a_photo_without_an_edge_moves_nothing(self):
        share = torch.rand(40, 50, generator=torch.Generator().manual_seed(3))
        assert torch.equal(refine(share, torch.full((40, 50, 3), 0.3)), share > 0.5)
        soft = torch.sigmoid(disc(96, 30) / 1.5)
        assert intersection(refine(soft, photo_of(disc(96, 30) > 99)), soft > 0.5) > 0.98  # noise is no edge

    def test_edges_far_away_move_nothing(self):
        soft, elsewhere = torch.sigmoid(disc(96, 20) / 1.0), disc(96, 40) > 0
        assert torch.equal(refine(soft, photo_of(elsewhere, noise=0.0)), soft > 0.5)

    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 999), h=st.integers(3, 40), w=st.integers(3, 40), radius=st.floats(0.01, 0.2))
    def test_only_the_band_changes(self, seed: int, h: int, w: int, radius: float):
        generator = torch.Generator().manual_seed(seed)
        share = torch.nn.functional.interpolate(
            torch.rand(1, 1, 4, 4, generator=generator), (h, w), mode="bilinear"
        )[0, 0]
        config = BoundaryConfig(radius=radius)
        found, mask = refine(share, torch.rand(h, w, 3, generator=generator), config=config), share > 0.5
        reach = config.radius_px(h, w)
        for y, x in (found != mask).nonzero().tolist():
            around = mask[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            assert bool(around.any()) and not bool(around.all())

    def test_nothing_and_everything_stay(self):
        photo = torch.rand(20, 20, 3, generator=torch.Generator().manual_seed(1))
        assert not refine(torch.zeros(20, 20), photo).any() and refine(torch.ones(20, 20), photo).all()

    def test_true_masks_of_photos_are_found_again(self, demo_scene: Path):
        """Blurred ids of a path-traced scene: the border is found again, on average and for nearly every object."""
        gains = []
        for view in read_scene(demo_scene, points=False).split("test")[:4]:
            ids, photo = view.picture.layer("instance")[..., 0], view.picture.image()
            for number in ids.unique().tolist():
                truth = ids == number
                if number == 0 or int(truth.sum()) < 100:
                    continue
                kernel = torch.ones(1, 1, 5, 5) / 25
                share = torch.nn.functional.conv2d(truth[None, None].float(), kernel, padding=2)[0, 0]
                share = torch.roll(share, (1, 1), (0, 1))
                gains.append(intersection(refine(share, photo), truth) - intersection(share > 0.5, truth))
        assert len(gains) > 8 and sum(gains) / len(gains) > 0.02 and min(gains) > -0.02


@dataclass(frozen=True)
class Bent(PhotoFile):
    """A photo of a known size whose file is not there."""

    def photo_size(self) -> tuple[int, int]:
        return self.lens.size


def bent(model: str, distortion: tuple[float, ...] = (), target: tuple[int, int] | None = None) -> Bent:
    lens = Lens(model, (64, 48), (50.0, 51.0), (33.0, 24.0), distortion)
    pinhole = lens.undistorted() if lens.distorts else lens
    return Bent(Path("photo.png"), lens, pinhole if target is None else pinhole.resized(target))


def places(picture: Bent) -> Tensor:
    """A picture (h w 2) of the camera whose values are its own pixel coordinates."""
    width, height = picture.target.size
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y], -1)


class TestPhotoPixels:
    @pytest.mark.parametrize(
        ("model", "distortion", "target"),
        [
            ("opencv", (0.12, -0.03, 0.004, -0.002), None),
            ("opencv", (-0.2, 0.05), (128, 96)),
            ("fisheye", (0.01, -0.002, 0.0, 0.0), None),
            ("pinhole", (), (32, 24)),
        ],
    )
    def test_every_pixel_shows_what_the_camera_has_there(
        self, model: str, distortion: tuple[float, ...], target: tuple[int, int] | None
    ):
        picture = bent(model, distortion, target)
        values = places(picture)
        found = in_photo(values, picture)
        assert found.shape == (48, 64, 2)
        width, height = picture.target.size
        checked = 0
        for y, x in [(y, x) for y in range(0, 48, 5) for x in range(0, 64, 5)]:
            at = np.array(picture.photo_to_camera(x + 0.5, y + 0.5))
            if (at > 1).all() and (at < np.array([width, height]) - 1).all():
                assert np.abs(found[y, x].numpy() - at).max() < 0.1, (x, y)
                checked += 1
            elif (at < -0.1).any() or (at > np.array([width, height]) + 0.1).any():
                assert not found[y, x].any()
        assert checked > 60

    def test_the_same_pixels_are_left_alone(self):
        values = torch.rand(48, 64, 3, generator=torch.Generator().manual_seed(2))
        assert in_photo(values, bent("pinhole")) is values
