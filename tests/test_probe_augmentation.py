"""Augmented pictures: exact cuts, and truth that follows the picture."""

from dataclasses import replace

import pytest
import torch
from probe_scenes import SIZE, planted, smooth

from featurefields.evaluation.probes.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Cut,
    augmented,
    random_cut,
    recoloured,
)
from featurefields.evaluation.probes.depth_probe import DepthTask
from featurefields.evaluation.probes.normal_probe import NormalTask
from featurefields.evaluation.probes.schedule import schedule_of
from featurefields.evaluation.probes.segmentation_probe import SegmentationTask
from featurefields.evaluation.probes.training import rate_at

WIDTH, HEIGHT = SIZE
MIDDLE = (WIDTH / 2, HEIGHT / 2)


@pytest.fixture
def image() -> torch.Tensor:
    return smooth(5)


@pytest.mark.parametrize("nearest", [True, False])
class TestCuts:
    def test_all_of_it(self, image: torch.Tensor, nearest: bool) -> None:
        assert torch.allclose(Cut(SIZE, MIDDLE).of(image, nearest=nearest), image, atol=1e-5)

    def test_mirrored(self, image: torch.Tensor, nearest: bool) -> None:
        found = Cut(SIZE, MIDDLE, flipped=True).of(image, nearest=nearest)
        assert torch.allclose(found, image.flip(1), atol=1e-5)

    def test_turned_clockwise(self, image: torch.Tensor, nearest: bool) -> None:
        found = Cut((HEIGHT, WIDTH), MIDDLE, angle_deg=90.0).of(image, nearest=nearest)
        assert torch.allclose(found, image.rot90(-1), atol=1e-4)

    def test_a_part(self, image: torch.Tensor, nearest: bool) -> None:
        found = Cut((8, 6), (20.0, 17.0)).of(image, nearest=nearest)
        assert torch.allclose(found, image[14:20, 16:24], atol=1e-5)

    def test_outside_is_nothing(self, image: torch.Tensor, nearest: bool) -> None:
        found = Cut((WIDTH, HEIGHT), (0.0, MIDDLE[1])).of(1 + image, nearest=nearest)
        assert float(found[:, : WIDTH // 2 - 1].abs().max()) == 0
        assert torch.allclose(found[:, WIDTH // 2 + 1 :], 1 + image[:, 1 : WIDTH // 2], atol=1e-5)


def test_scaling_keeps_the_middle(image: torch.Tensor) -> None:
    found = Cut(SIZE, MIDDLE, scale=2.0).positions()
    assert found.mean((0, 1)).tolist() == pytest.approx(list(MIDDLE))
    assert float(found[..., 0].max() - found[..., 0].min()) == pytest.approx((WIDTH - 1) / 2)


def test_random_cuts_cover_nothing_outside(generator: torch.Generator) -> None:
    for _ in range(50):
        cut = random_cut(Augmentation(cut=(0.8, 0.7)), SIZE, (34, 32), generator)
        at = cut.positions()
        assert float(at.min()) >= 0.5 - 1e-4
        assert (
            float(at[..., 0].max()) <= WIDTH - 0.5 + 1e-4 and float(at[..., 1].max()) <= HEIGHT - 0.5 + 1e-4
        )


def test_vectors_follow_the_picture(generator: torch.Generator) -> None:
    """A picture whose colours are its normals: what is cut out shows the old vectors, truth holds the new ones."""
    sample = planted().samples[0]
    shown = replace(sample, image=lambda: (sample.read_truth("normal") + 1) / 2)
    plain = Augmentation(turn_deg=30.0, cut=(0.7, 0.7))
    task, found = NormalTask(), set()
    for _ in range(12):
        state = generator.get_state()
        image, truth, valid = augmented(shown, task, plain, (33, 28), generator)
        generator.set_state(state)
        cut = random_cut(plain, SIZE, (33, 28), generator)
        old = torch.nn.functional.normalize(2 * image - 1, dim=-1)
        angle = torch.tensor(cut.angle_deg).deg2rad()
        x = -old[..., 0] if cut.flipped else old[..., 0]
        turned = torch.stack(
            [
                x * angle.cos() - old[..., 1] * angle.sin(),
                x * angle.sin() + old[..., 1] * angle.cos(),
                old[..., 2],
            ],
            -1,
        )
        inner = valid.clone()
        inner[1:-1, 1:-1] &= valid[:-2, 1:-1] & valid[2:, 1:-1] & valid[1:-1, :-2] & valid[1:-1, 2:]
        inner[[0, -1]], inner[:, [0, -1]] = False, False
        assert float((turned * truth).sum(-1)[inner].mean()) > 0.995
        found.add((cut.flipped, cut.angle_deg != 0.0))
    assert len(found) == 4, "flipped or not, turned or not"


def test_validity_follows_the_picture(generator: torch.Generator) -> None:
    sample = planted().samples[0]
    tasks = (DepthTask(0.001, 4.0), SegmentationTask(("dark", "bright"), (True, True)))
    for task, kind in zip(tasks, ("depth", "segmentation"), strict=True):
        augmentation = AUGMENTATIONS[kind]  # type: ignore[index]
        size = augmentation.cut_size(SIZE)
        _, truth, valid = augmented(sample, task, augmentation, size, generator)
        assert truth.shape == valid.shape == (size[1], size[0])
        assert bool((truth[valid] > 0).all() if kind == "depth" else (truth[valid] >= 0).all())
        assert bool(valid.any()) and truth.dtype == task.truth(sample)[0].dtype


def test_published_cuts() -> None:
    assert AUGMENTATIONS["depth"].cut_size((640, 480)) == (544, 416)
    assert AUGMENTATIONS["segmentation"].cut_size((683, 512)) == (512, 512)


def test_colours_stay_colours(generator: torch.Generator) -> None:
    image, changed = torch.rand(5, 6, 3, generator=generator), 0
    for _ in range(40):
        other = recoloured(image, generator)
        assert float(other.min()) >= 0 and float(other.max()) <= 1
        changed += not torch.equal(other, image)
    assert 8 < changed < 32, "every second time"


class TestSchedules:
    def test_published_numbers(self) -> None:
        depth, normals, labels = (schedule_of("official", t) for t in ("depth", "normals", "segmentation"))  # type: ignore[arg-type]
        assert (depth.length(795), depth.batch, depth.learning_rate) == (38_400, 16, 1e-4)
        assert round(depth.warmup * 38_400) == 12_800 and round(labels.warmup * 40_000) == 1_500
        assert normals.length(800) == 1000, "ten epochs of batches of eight"
        assert schedule_of("official", "normals", steps=7).length(800) == 7

    @pytest.mark.parametrize("name", ["depth", "normals", "segmentation"])
    def test_rates_rise_and_fall_to_nothing(self, name: str) -> None:
        schedule = schedule_of("official", name)  # type: ignore[arg-type]
        rates = [rate_at(schedule, step / 1000) for step in range(1000)]
        top = rates.index(max(rates))
        assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(
            rates[top:], reverse=True
        )
        assert max(rates) == pytest.approx(1, abs=0.01) and rates[-1] < 0.01
        assert top / 1000 == pytest.approx(schedule.warmup, abs=0.01)
