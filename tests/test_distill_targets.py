"""Targets: where teacher features land when they are seen from elsewhere, and which of them count."""

import pytest
import torch
from tiny_distillation import CPU, facing

from featurefields.camera import Camera
from featurefields.distillation.losses import DinoHead, DinoLoss, cosine_loss, direct_loss, valid_mean
from featurefields.distillation.reconstruct import DepthReconstructor, SplatReconstructor, data_depth
from featurefields.distillation.seen import Seen, nearest
from featurefields.distillation.segments import colour_segments
from featurefields.distillation.surfels import pixel_surfels
from featurefields.distillation.targets import TargetConfig, splatted_target
from featurefields.errors import FittingError
from featurefields.vision.grids import pool, upsample

GRID = (6, 4)
PLAIN = TargetConfig(upsampling="bilinear", blend=1.0)


def seen(camera: Camera, depth: torch.Tensor | float = 2.0, masks: torch.Tensor | None = None) -> Seen:
    size = (camera.height, camera.width)
    depths = torch.full(size, depth) if isinstance(depth, float) else depth
    return Seen("s", "v", torch.zeros(3, *size), camera, depths, masks, torch.ones(size, dtype=torch.bool))


def target_of(tokens, contexts, target, config=PLAIN, reconstruct=None):
    geometry = (reconstruct or DepthReconstructor())(contexts)
    return splatted_target(tokens, contexts, target, geometry, CPU, grid=GRID, config=config)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_tokens_come_back_where_their_patches_are(shift):
    """A wall seen again from the same place gives back its tokens, and from patches further over, those there.

    Tokens say where their patch is, in patches: taken for anything but samples at their centres, they would be off by
    up to half of one.
    """
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    tokens = torch.stack([columns, rows])
    found = target_of([tokens, tokens], [seen(facing())] * 2, seen(facing(x=shift * 8 * 2.0 / 40.0)))
    assert found.valid[:, : 6 - shift].all()
    inner = slice(1, 3), slice(1, 5 - shift)
    expected = tokens + torch.tensor([float(shift), 0.0])[:, None, None]
    torch.testing.assert_close(
        found.features[:, inner[0], inner[1]], expected[:, inner[0], inner[1]], atol=0.06, rtol=0
    )


def test_same_view_is_upsampling_and_pooling(generator):
    tokens = torch.randn(5, 4, 6, generator=generator)
    found = target_of([tokens], [seen(facing())], seen(facing()))
    expected = pool(upsample(tokens, (48, 32)), GRID)
    torch.testing.assert_close(found.features, expected, atol=0.15, rtol=0.1)
    assert found.valid.all()


def test_what_no_context_saw_does_not_count(generator):
    tokens = torch.randn(2, 4, 6, generator=generator)
    found = target_of([tokens], [seen(facing())], seen(facing(x=3 * 8 * 2.0 / 40.0)))
    assert found.valid[:, :3].all() and not found.valid[:, 4:].any()


def test_hidden_surfaces_do_not_count(generator):
    """Where the target knows that something stands in front, what the contexts saw behind it is not meant."""
    depth = torch.full((32, 48), 2.0)
    depth[:, 24:] = 1.0
    found = target_of([torch.randn(2, 4, 6, generator=generator)], [seen(facing())], seen(facing(), depth))
    assert found.valid[:, :3].all() and not found.valid[:, 3:].any()


def test_segments_keep_features_apart_and_blend(generator):
    masks = (torch.arange(48) >= 24).int().expand(32, 48)
    tokens = torch.zeros(1, 4, 6)
    tokens[..., 3:] = 1.0
    view = seen(facing(), masks=masks)
    apart = target_of([tokens], [view], view, TargetConfig(blend=1.0)).features
    torch.testing.assert_close(apart, tokens, atol=0.08, rtol=0)
    across = target_of([tokens], [view], view, PLAIN).features
    assert (across - tokens).abs().max() > 0.1
    noisy = tokens + torch.randn(tokens.shape, generator=generator)
    spread = [
        float(target_of([noisy], [view], view, TargetConfig(blend=share)).features[..., :3].std())
        for share in (1.0, 0.5, 0.0)
    ]
    assert spread[0] > 1.5 * spread[1] > 3 * spread[2] and spread[2] < 0.02


def test_given_splats_take_what_contexts_show(generator):
    camera = facing()
    splats, _ = pixel_surfels(camera, torch.full((32, 48), 2.0), torch.ones(32, 48, dtype=torch.bool))
    constant = torch.tensor([3.0, -1.0])[:, None, None].expand(2, 4, 6).contiguous()
    reconstruct = SplatReconstructor(lambda contexts: splats, CPU)
    beside = seen(facing(x=0.6))
    found = target_of([constant], [beside], seen(camera), reconstruct=reconstruct)
    torch.testing.assert_close(found.features[:, found.valid], constant[:, found.valid], atol=1e-3, rtol=1e-3)
    assert not found.valid[:, 0].any() and found.valid[:, 2:].all()


def test_surfels_cover_a_slope_from_the_side():
    """A slanted wall, seen by a camera that faces it more than the one it comes from, has no gaps."""
    x = (torch.arange(48) + 0.5 - 24) / 40.0
    depth = (2.0 / (1 - 0.8 * x)).expand(32, 48).contiguous()
    splats, known = pixel_surfels(facing(), depth, torch.ones(32, 48, dtype=torch.bool))
    assert known.all()
    normals = splats.shortest_axes
    expected = torch.nn.functional.normalize(torch.tensor([-0.8, 0.0, 1.0]), dim=0)
    inside = torch.zeros(32, 48, dtype=torch.bool)
    inside[2:-2, 2:-2] = True
    assert float((normals[inside.flatten()] @ expected).abs().min()) > 0.98


def test_missing_depth_is_told():
    blind = Seen(
        "s", "v", torch.zeros(3, 4, 4), facing((4, 4)), None, None, torch.ones(4, 4, dtype=torch.bool)
    )
    with pytest.raises(FittingError, match="no depth map"):
        data_depth([blind])


def test_nearest_takes_pixels_as_they_are():
    pixels = torch.arange(24).view(4, 6)
    assert torch.equal(nearest(pixels, (6, 4)), pixels)
    assert nearest(pixels, (3, 2)).tolist() == [[7, 9, 11], [19, 21, 23]]


def test_colour_segments_find_surfaces_of_one_colour(generator):
    image = torch.full((3, 40, 60), 0.2)
    image[0, 10:30, 20:45] = 0.9
    found = colour_segments((image + 0.02 * torch.randn(image.shape, generator=generator)).clamp(0, 1))
    inside = found[12:28, 22:43]
    assert (inside == inside[0, 0]).all()
    assert (found[:8] == found[0, 0]).all() and found[0, 0] != inside[0, 0]


class TestLosses:
    @pytest.mark.parametrize("each", [cosine_loss, direct_loss])
    def test_invalid_tokens_never_count(self, each, generator):
        tokens, targets = torch.randn(2, 3, 6, 4, 5, generator=generator)
        valid = torch.rand(3, 4, 5, generator=generator) > 0.4
        tokens = tokens.requires_grad_(True)
        loss = valid_mean(each, tokens, targets, valid)
        loss.backward()
        assert (tokens.grad.movedim(1, -1)[~valid] == 0).all()
        assert (tokens.grad.movedim(1, -1)[valid] != 0).any()
        changed = torch.where(valid[:, None], targets, 1e3)
        torch.testing.assert_close(valid_mean(each, tokens, changed, valid), loss)

    def test_halves_of_a_batch_have_its_mean(self, generator):
        tokens, targets = torch.randn(2, 4, 6, 4, 5, generator=generator)
        valid = torch.rand(4, 4, 5, generator=generator) > 0.7
        valid[2] = False
        whole = valid_mean(cosine_loss, tokens, targets, valid)
        halves = [
            valid_mean(cosine_loss, tokens[part], targets[part], valid[part]) for part in ([0, 1], [2, 3])
        ]
        torch.testing.assert_close(sum(halves) / 2, whole)

    def test_nothing_valid_is_no_loss(self):
        nothing = torch.zeros(1, 2, 2, dtype=torch.bool)
        assert valid_mean(cosine_loss, torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2), nothing) == 0

    def test_dino_wants_what_the_teacher_says(self, generator):
        torch.manual_seed(0)
        loss = DinoLoss(DinoHead(6, prototypes=32, hidden=16, bottleneck=8))
        tokens = torch.randn(40, 6, generator=generator)
        same, other = loss(tokens, tokens).mean(), loss(tokens, tokens.roll(1, 0)).mean()
        assert same < other
        wanted = ((loss.teacher_head(tokens) - loss.centre) / 0.04).softmax(-1)
        entropy = -(wanted * wanted.clamp(min=1e-30).log()).sum(-1).mean()
        assert same > entropy
        same.backward()
        assert all(one.grad is None for one in loss.teacher_head.parameters())
        assert all(one.grad is not None for one in loss.head.parameters())

    def test_centre_follows_the_mean_score(self, generator):
        torch.manual_seed(0)
        loss = DinoLoss(DinoHead(6, prototypes=8, hidden=16, bottleneck=8), momentum=0.9)
        targets = torch.randn(50, 6, generator=generator)
        for part in (targets[:20], targets[20:]):
            loss(part, part)
        loss.move_centre()
        torch.testing.assert_close(loss.centre, 0.1 * loss.teacher_head(targets).mean(0))
        before = loss.centre.clone()
        loss.move_centre()
        assert torch.equal(loss.centre, before)
