"""Heads and losses of probes: identities, brute force, and pixels that never count."""

import math

import pytest
import torch
from torch.nn.functional import interpolate

from featurefields.evaluation.probes.depth_probe import DepthTask
from featurefields.evaluation.probes.heads import (
    LinearHead,
    bin_centres,
    directions,
    expected_depth,
    resized,
)
from featurefields.evaluation.probes.losses import (
    angular_loss,
    gradient_loss,
    label_loss,
    scale_loss,
    sig_loss,
)


@pytest.fixture
def head(generator: torch.Generator) -> LinearHead:
    made = LinearHead(torch.randn(6, generator=generator), 2.0, 5, generator=generator)
    with torch.no_grad():
        made.project.bias.normal_(generator=generator)
        made.project.weight.normal_(generator=generator)
    return made


def test_upsampling_and_the_convolution_commute(head: LinearHead, generator: torch.Generator) -> None:
    """So the head may work on the small grid, though the published order is the other one."""
    tokens = torch.randn(2, 6, 3, 4, generator=generator)
    before = head(interpolate(tokens, scale_factor=4, mode="bilinear", align_corners=False))
    assert torch.allclose(resized(head(tokens), (16, 12)), before, atol=1e-5)
    bent = torch.relu(before)
    assert not torch.allclose(resized(torch.relu(head(tokens)), (16, 12)), bent, atol=1e-2), "relu does not"


def test_expected_depth_by_hand() -> None:
    outputs = torch.tensor([0.9, -3.0, 0.4]).view(1, 3, 1, 1)
    depth = expected_depth(outputs, torch.tensor([1.0, 2.0, 4.0]))
    assert float(depth) == pytest.approx((1.0 * 1 + 0.1 * 2 + 0.5 * 4) / 1.6)


def test_bins_reach_both_ends_and_depth_stays_between(generator: torch.Generator) -> None:
    centres = bin_centres(0.001, 10.0)
    assert len(centres) == 256 and float(centres[0]) == pytest.approx(0.001) and float(centres[-1]) == 10.0
    assert torch.allclose(centres.diff(), centres.diff()[0].expand(255), atol=1e-5)
    depth = expected_depth(50 * torch.randn(1, 256, 4, 4, generator=generator), centres)
    assert float(depth.min()) > 0.001 and float(depth.max()) < 10.0


def test_depth_is_read_four_times_finer_than_tokens() -> None:
    task = DepthTask(0.0, 10.0)
    outputs = torch.zeros(1, 256, 2, 2)
    outputs[:, 0, :, 0], outputs[:, -1, :, 1] = 100.0, 100.0
    assert task.read(outputs, (40, 40)).shape == (1, 40, 40)
    fine = task.read(outputs, (8, 8))
    assert len(fine[0, 0].unique()) > 2, "between the tokens depth is read off mixed outputs"
    assert torch.allclose(task.read(outputs, (4, 4))[0, 0, [0, -1]], fine[0, 0, [0, -1]], atol=0.2)


def test_directions_are_unit(generator: torch.Generator) -> None:
    read = directions(torch.randn(2, 4, 3, 3, generator=generator))
    assert torch.allclose(read.norm(dim=-1), torch.ones(2, 3, 3))


class TestDepthLosses:
    def test_sig_loss_by_hand(self) -> None:
        guess, true = torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, 3.0]])
        g = math.log(2.001 / 1.001)
        expected = math.sqrt(g * g / 2 - 0.85 * (g / 2) ** 2)
        valid = torch.ones(1, 2, dtype=torch.bool)
        assert float(sig_loss(guess, true, valid)) == pytest.approx(expected, rel=1e-5)
        assert float(scale_loss(guess, true, valid)) == pytest.approx(math.sqrt(0.15) * g / 2, rel=1e-5)

    def test_a_common_factor_costs_little(self, generator: torch.Generator) -> None:
        true = torch.rand(8, 8, generator=generator) + 1
        valid = torch.ones(8, 8, dtype=torch.bool)
        noisy = true * torch.exp(0.3 * torch.randn(8, 8, generator=generator))
        scaled = true * math.exp(0.3)
        assert float(sig_loss(scaled, true, valid)) == pytest.approx(0.3 * math.sqrt(0.15), rel=0.01)
        assert float(sig_loss(noisy, true, valid)) > 2 * float(sig_loss(scaled, true, valid))
        assert float(gradient_loss(scaled, true, valid)) < 0.02, "differences do not see it"

    def test_gradient_loss_by_brute_force(self, generator: torch.Generator) -> None:
        guess, true = (torch.rand(2, 13, 11, generator=generator) + 0.5 for _ in range(2))
        valid = torch.rand(2, 13, 11, generator=generator) > 0.3
        expected = 0.0
        for stride in (1, 2, 4, 6):
            total, known = 0.0, 0
            for b in range(2):
                g = {}
                for y, row in enumerate(range(0, 13, stride)):
                    for x, column in enumerate(range(0, 11, stride)):
                        if valid[b, row, column]:
                            p, t = float(guess[b, row, column]), float(true[b, row, column])
                            g[y, x] = math.log(p + 1e-3) - math.log(t + 1e-3)
                known += len(g)
                for (y, x), value in g.items():
                    for other in ((y + 2, x), (y, x + 2)):
                        total += abs(value - g[other]) if other in g else 0.0
            expected += total / known
        assert float(gradient_loss(guess, true, valid)) == pytest.approx(expected, rel=1e-4)


class TestNormalLoss:
    def test_by_hand(self) -> None:
        outputs = torch.tensor([0.0, 1.0, 1.0, 0.5]).view(1, 4, 1, 1)
        true, valid = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 1, 3), torch.ones(1, 1, 1, dtype=torch.bool)
        kappa = 0.5 + 1.01
        expected = kappa * math.pi / 4 - math.log(kappa**2 + 1) + math.log(1 + math.exp(-kappa * math.pi))
        assert float(angular_loss(outputs, true, valid)) == pytest.approx(expected, rel=1e-4)

    def test_the_best_concentration_falls_with_the_angle(self) -> None:
        """Uncertainty-aware: where the direction is wrong it pays to be unsure."""
        kappas = torch.linspace(-3, 20, 200)
        best = []
        for angle in (0.1, 0.6, 1.5):
            outputs = torch.zeros(200, 4, 1, 1)
            outputs[:, 0, 0, 0], outputs[:, 2, 0, 0] = math.sin(angle), math.cos(angle)
            outputs[:, 3, 0, 0] = kappas
            true = torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 1, 3)
            one = torch.ones(1, 1, 1, dtype=torch.bool)
            losses = [float(angular_loss(outputs[k : k + 1], true, one)) for k in range(200)]
            best.append(float(kappas[losses.index(min(losses))]))
        assert best[0] > best[1] > best[2]


class TestMaskedPixels:
    """Whatever stands in pixels that are not valid, losses and their gradients stay the same."""

    def losses(
        self, name: str, outputs: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        if name == "depth":
            depth = outputs[:, 0].exp()
            return sig_loss(depth, truth, valid) + gradient_loss(depth, truth, valid)
        if name == "normals":
            return angular_loss(outputs, truth, valid)
        return label_loss(outputs, truth, valid)

    @pytest.mark.parametrize("name", ["depth", "normals", "labels"])
    def test_never_count(self, name: str, generator: torch.Generator) -> None:
        outputs = torch.randn(2, 4, 7, 6, generator=generator)
        valid = torch.rand(2, 7, 6, generator=generator) > 0.4
        truth = {
            "depth": torch.rand(2, 7, 6, generator=generator) + 0.5,
            "normals": torch.nn.functional.normalize(torch.randn(2, 7, 6, 3, generator=generator), dim=-1),
            "labels": torch.randint(0, 4, (2, 7, 6), generator=generator),
        }[name]
        junk = truth.clone()
        junk[~valid] = -1 if name == "labels" else 0
        found = []
        for stands in (truth, junk):
            leaf = outputs.clone().requires_grad_()
            loss = self.losses(name, leaf, stands, valid)
            (gradient,) = torch.autograd.grad(loss, leaf)
            found.append((float(loss.detach()), gradient))
        assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
        assert torch.equal(found[0][1], found[1][1])
        hidden = found[0][1].movedim(1, -1)[~valid]
        assert torch.equal(hidden, torch.zeros_like(hidden))
