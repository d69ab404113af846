"""`ff bench segment`: the simulated user, thresholds and metrics by brute force; folders of benchmarks; whole runs."""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_fields import Canvas, edited_document, looking, part
from tiny_scenes import photo
from tiny_truth import PARTS, truth_field, truth_scene
from torch import Tensor

from featurefields.errors import PromptError, SceneError
from featurefields.evaluation.lerf_labels import polygon_mask, read_frame, read_lerf_ovs
from featurefields.evaluation.protocol_folders import labelled_view, read_nvos, read_spin_nerf
from featurefields.evaluation.protocols import (
    Target,
    as_seen,
    best_threshold,
    instance_tasks,
    judge,
    photo_pixel,
    read_label,
)
from featurefields.evaluation.regions import RegionRows, scene_objects
from featurefields.evaluation.relevancy import averaged, localised, majority, relevancy_mask
from featurefields.evaluation.simulated_user import (
    UserClick,
    UserView,
    centre_of,
    correct,
    largest_error,
)
from featurefields.files.archive import write_archive
from featurefields.lens import Lens
from featurefields.maths.relevancy import TextQuery
from featurefields.raster import choose_rasterizer
from featurefields.readers import read_scene
from featurefields.readers.picture import PhotoFile
from featurefields.scene import View
from featurefields.vision.select import EXTRACTORS
from featurefields_cli import main
from featurefields_cli.bench_tables import click_tables
from featurefields_cli.clicks import ClickRow, ClickTrial, read_clicks
from featurefields_cli.console import Console
from featurefields_cli.held_out import measured_on
from featurefields_cli.protocols_clicks import (
    ClickResults,
    UserRow,
    UserTable,
    UserTrial,
    first_clicks,
    spread,
)
from featurefields_cli.queries import with_features


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(seed: int, size: tuple[int, int] = (14, 17), cut: float = 0.15) -> Tensor:
    """A random mask with regions of several pixels."""
    noise = torch.randn(1, 1, *size, generator=seeded(seed))
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)[0, 0] > cut


def regions_of(mask: Tensor) -> list[set[tuple[int, int]]]:
    """Connected parts over edges, by flooding; pixels are (y, x)."""
    left = {(int(y), int(x)) for y, x in mask.nonzero()}
    found = []
    while left:
        part, front = set(), [min(left)]
        while front:
            y, x = front.pop()
            if (y, x) in left:
                left.remove((y, x))
                part.add((y, x))
                front += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        found.append(part)
    return found


def view_of(truth: Tensor, name: str = "a", counted: Tensor | None = None) -> UserView:
    return UserView(name, truth, torch.ones_like(truth) if counted is None else counted)


class TestLargestError:
    @pytest.mark.parametrize("seed", range(6))
    def test_the_centre_is_farthest_from_outside(self, seed: int):
        mask = blobs(seed)
        height, width = mask.shape
        outside = [
            (y, x)
            for y in range(-1, height + 1)
            for x in range(-1, width + 1)
            if not (0 <= y < height and 0 <= x < width and mask[y, x])
        ]

        def depth(y: int, x: int) -> float:
            return min(math.hypot(y - other, x - across) for other, across in outside)

        x, y = centre_of(mask)
        deepest = {(y, x): depth(y, x) for y, x in mask.nonzero().tolist()}
        assert mask[y, x] and deepest[y, x] == pytest.approx(max(deepest.values()))
        assert (y, x) == min(place for place, value in deepest.items() if value > deepest[y, x] - 1e-9)

    @pytest.mark.parametrize("seed", range(6))
    def test_the_largest_region_of_all_views_is_found(self, seed: int):
        truths, shown = ([blobs(10 * seed + k + side) for k in range(3)] for side in (0, 5))
        counted = [blobs(100 + seed + k, cut=-0.5) for k in range(3)]
        views = [view_of(t, f"v{k}", c) for k, (t, c) in enumerate(zip(truths, counted, strict=True))]
        sizes = {}
        for place in range(3):
            for missing in (True, False):
                wrong = truths[place] & ~shown[place] if missing else shown[place] & ~truths[place]
                for region in regions_of(wrong & counted[place]):
                    sizes[place, missing, frozenset(region)] = len(region)
        found = largest_error(shown, views)
        assert found is not None
        pixels = frozenset((int(y), int(x)) for y, x in found.pixels.nonzero())
        assert sizes[found.view, found.missing, pixels] == max(sizes.values())
        assert found.centre == centre_of(found.pixels)

    def test_what_is_right_or_ignored_is_no_error(self):
        truth = blobs(3)
        assert largest_error([truth], [view_of(truth)]) is None
        empty = torch.zeros_like(truth)
        assert largest_error([empty], [view_of(truth)], [truth]) is None
        assert largest_error([empty], [view_of(truth, counted=~truth)]) is None
        found = largest_error([empty], [view_of(truth)])
        assert found is not None and found.missing
        found = largest_error([truth], [view_of(empty)])
        assert found is not None and not found.missing


def squares() -> Tensor:
    """Three squares of 36, 16 and 4 pixels."""
    truth = torch.zeros(20, 20, dtype=torch.bool)
    truth[1:7, 1:7] = truth[10:14, 10:14] = truth[17:19, 1:3] = True
    return truth


class TestCorrect:
    """The user against selectors whose answers are known."""

    def user(self, truth: Tensor, select, first: UserClick, most: int = 5, judged: Tensor | None = None):
        goal = truth if judged is None else judged

        def measure(mask: Tensor) -> float:
            return float((mask & goal).sum() / (mask | goal).sum())

        return correct(
            first, [view_of(truth)], select=select, shown=lambda m: [m], measure=measure, most=most
        )

    def test_a_perfect_selection_needs_one_click(self):
        truth, seen = squares(), []

        def select(clicks: Sequence[UserClick]) -> Tensor:
            seen.append(list(clicks))
            return truth

        first = UserClick("a", 3.5, 3.5)
        found = self.user(truth, select, first)
        assert found.clicks == (first,) and found.ious == (1.0,) * 5 and found.needed() == 1
        assert seen == [[first]]

    def test_what_is_missing_is_clicked_largest_first(self):
        """The selector selects exactly the squares that were clicked."""
        truth = squares()

        def select(clicks: Sequence[UserClick]) -> Tensor:
            mask = torch.zeros_like(truth)
            for region in regions_of(truth):
                if any((int(click.y), int(click.x)) in region for click in clicks):
                    for y, x in region:
                        mask[y, x] = True
            return mask

        found = self.user(truth, select, UserClick("a", 1.5, 17.5))
        assert [(click.x, click.y, click.positive) for click in found.clicks] == [
            (1.5, 17.5, True), (3.5, 3.5, True), (11.5, 11.5, True),
        ]  # fmt: skip
        assert found.ious == pytest.approx((4 / 56, 40 / 56, 1.0, 1.0, 1.0))
        assert found.needed() == 3 and found.needed(0.7) == 2 and found.needed(1.1) is None

    def test_what_is_too_much_is_clicked_negatively(self):
        truth = torch.zeros(20, 20, dtype=torch.bool)
        truth[1:7, 1:7] = True

        def select(clicks: Sequence[UserClick]) -> Tensor:
            return truth if any(not click.positive for click in clicks) else truth | squares()

        found = self.user(truth, select, UserClick("a", 3.5, 3.5))
        assert [click.positive for click in found.clicks] == [True, False]
        assert (found.clicks[1].x, found.clicks[1].y) == (11.5, 11.5)
        assert found.ious[:2] == pytest.approx((36 / 56, 1.0)) and found.needed() == 2

    def test_a_selector_that_never_learns_spends_every_click_once(self):
        truth = squares()
        found = self.user(truth, lambda clicks: torch.zeros_like(truth), UserClick("a", 3.5, 3.5))
        assert len(found.clicks) == len(set(found.clicks)) == 3
        assert found.ious == (0.0,) * 5 and found.needed() is None

    def test_a_refused_click_is_spent_and_not_repeated(self):
        truth, accepted = squares(), []

        def select(clicks: Sequence[UserClick]) -> Tensor:
            if clicks[-1].y < 8:
                raise PromptError("nothing there")
            accepted.append(len(clicks))
            mask = truth.clone()
            mask[:8] = False
            return mask

        found = self.user(truth, select, UserClick("a", 2.5, 2.5), most=4)
        assert [(click.x, click.y) for click in found.clicks] == [(2.5, 2.5), (3.5, 3.5), (11.5, 11.5)]
        assert accepted == [1] and found.ious == pytest.approx((0.0, 0.0, 20 / 56, 20 / 56))

    def test_it_is_judged_elsewhere(self):
        truth = squares()
        judged = torch.zeros_like(truth)
        judged[1:7, 1:4] = True
        found = self.user(truth, lambda clicks: truth, UserClick("a", 3.5, 3.5), judged=judged)
        assert found.ious[0] == pytest.approx(18 / 56) and len(found.clicks) == 1

    def test_means_count_what_is_never_reached_with_all_clicks(self):
        rows = (
            UserRow("a", "", 2, (0.5, 0.9, 0.9)),
            UserRow("b", "", None, (0.1, 0.2, 0.3)),
            UserRow("unseen", "", None, (math.nan,) * 3),
        )
        table = UserTable(rows, (4.0, 1.0, 2.0))
        assert table.mean_clicks == 2.5 and table.reached == 0.5 and table.median_ms == 2.0
        assert table.mean_ious == pytest.approx((0.3, 0.55, 0.6))
        assert list(spread(range(10), 4)) == [0, 2, 5, 7] and len(spread(range(3), 0)) == 3  # type: ignore[arg-type]


class TestNumbers:
    @pytest.mark.parametrize("aim", ["iou", "balanced"])
    @pytest.mark.parametrize("seed", range(8))
    def test_the_best_threshold_is_the_best_of_all(self, seed: int, aim: str):
        generator = seeded(seed)
        score = (torch.randn(40, generator=generator) * 4).round() / 4
        truth = score + torch.randn(40, generator=generator) > 0.7
        score[torch.rand(40, generator=generator) < 0.1] = -math.inf

        def quality(threshold: float) -> float:
            chosen = score > threshold
            hits, misses = int((chosen & truth).sum()), int((chosen & ~truth).sum())
            if aim == "iou":
                return hits / (int(truth.sum()) + misses)
            return (hits / int(truth.sum()) + 1 - misses / int((~truth).sum())) / 2

        found = best_threshold(score, truth, aim)  # type: ignore[arg-type]
        levels = [value - 0.1 for value in sorted(set(score.tolist())) if math.isfinite(value)] + [100.0]
        assert quality(found) == pytest.approx(max(map(quality, levels)))
        finite = score[score.isfinite()]
        assert (finite - found).abs().min() > 0.1  # half way between two scores

    def test_without_anything_to_find_nothing_is_chosen(self):
        score = torch.tensor([0.1, 0.9])
        assert best_threshold(score, torch.tensor([False, False])) == math.inf
        assert best_threshold(torch.full((2,), -math.inf), torch.tensor([True, False])) == math.inf
        assert best_threshold(score, torch.tensor([True, False]), "balanced") == math.inf
        assert 0.1 < best_threshold(score, torch.tensor([False, True])) < 0.9
        assert best_threshold(score, torch.tensor([True, False])) < 0.1

    def test_masks_are_judged_where_it_counts(self):
        chosen, truth, counted = (blobs(seed) for seed in (1, 2, 3))
        both = either = right = total = 0
        for y in range(truth.shape[0]):
            for x in range(truth.shape[1]):
                if counted[y, x]:
                    total += 1
                    right += bool(chosen[y, x]) == bool(truth[y, x])
                    both += bool(chosen[y, x] and truth[y, x])
                    either += bool(chosen[y, x] or truth[y, x])
        score = judge(chosen, Target("a", truth, counted))
        assert score.iou == pytest.approx(both / either) and score.accuracy == pytest.approx(right / total)
        empty = torch.zeros_like(truth)
        assert math.isnan(judge(empty, Target("a", empty, counted)).iou)

    def test_relevancy_is_that_of_decoded_features(self):
        generator = seeded(4)
        stored, texts = torch.randn(30, 3, generator=generator), torch.randn(5, 6, generator=generator)
        basis = torch.linalg.qr(torch.randn(6, 3, generator=generator)).Q.T.contiguous()
        mean = torch.randn(6, generator=generator)
        cosine = torch.nn.functional.cosine_similarity(
            (mean + stored @ basis)[:, None], texts[None].expand(30, 5, 6), dim=-1
        )
        shares = [
            torch.stack([cosine[:, 0], cosine[:, k]], -1).mul(10).softmax(-1)[:, 0] for k in range(1, 5)
        ]
        expected = torch.stack(shares).amin(0)
        found = TextQuery.of(texts, mean, basis).relevancy(stored)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("window", [1, 4, 5])
    def test_means_and_votes_by_hand(self, window: int):
        cv2 = pytest.importorskip("cv2")
        values = torch.randn(11, 13, generator=seeded(1))
        expected = cv2.filter2D(
            values.numpy(), -1, np.full((window, window), 1 / window**2, np.float32)
        )  # mirrors at the border as it does
        np.testing.assert_allclose(averaged(values, window).numpy(), expected, atol=1e-6)
        mask = blobs(5)
        for y in range(mask.shape[0]):
            for x in range(mask.shape[1]):
                near = mask[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
                assert bool(majority(mask, 2)[y, x]) == (int(near.sum()) * 2 > near.numel())

    def test_a_phrase_is_found_where_its_relevancy_is(self):
        relevancy = torch.full((40, 50), 0.3)
        relevancy[10:26, 20:36] = 0.9
        box = (20.0, 10.0, 36.0, 26.0)
        assert localised(relevancy, [box], window=3)
        assert not localised(relevancy, [(0.0, 0.0, 19.0, 40.0), (37.0, 0.0, 50.0, 40.0)], window=3)
        assert localised(relevancy, [(0.0, 0.0, 5.0, 5.0), box], window=3)
        mask, truth = relevancy_mask(relevancy, window=3), relevancy > 0.5
        assert float((mask & truth).sum() / (mask | truth).sum()) > 0.9
        assert not relevancy_mask(torch.full((9, 9), 0.7), window=3).any()


LENS = Lens("opencv", (80, 60), (70.0, 72.0), (41.0, 29.0), (-0.12, 0.02, 0.001, -0.002))


def photographed(lens: Lens, size: tuple[int, int], path: Path) -> View:
    """A view of this size of a photo taken with a lens."""
    target = lens.undistorted().resized(size)
    camera = replace(
        looking((3.0, 0.0, 1.0), size=size),
        focal_px=torch.tensor(target.focal_px),
        centre_px=torch.tensor(target.centre_px),
    )
    photo(path, np.zeros((lens.size[1], lens.size[0], 3), dtype=np.uint8))
    return View("photo.png", camera, "train", PhotoFile(path, lens, target))


class TestLabels:
    def test_labels_are_seen_where_the_photo_shows_them(self, tmp_path: Path):
        view = photographed(LENS, (40, 30), tmp_path / "photo.png")
        label = torch.zeros(60, 80, dtype=torch.bool)
        label[20:40, 25:60] = True
        seen = as_seen(label, view, tmp_path / "label.png")
        assert seen.shape == (30, 40)
        wrong = 0
        for y in range(30):
            for x in range(40):
                at = photo_pixel(view, x + 0.5, y + 0.5)
                assert view.picture.photo_to_camera(*at) == pytest.approx((x + 0.5, y + 0.5), abs=1e-3)
                wrong += bool(label[int(at[1]), int(at[0])]) != bool(seen[y, x])
        assert wrong <= 2  # rounding of the lens' table
        wide = label.repeat_interleave(2, 0).repeat_interleave(2, 1)
        assert int((as_seen(wide, view, tmp_path / "wide.png") != seen).sum()) <= 6

    def test_strokes_survive_shrinking(self, tmp_path: Path):
        view = photographed(replace(LENS, model="pinhole", distortion=()), (20, 15), tmp_path / "photo.png")
        stroke = torch.zeros(60, 80, dtype=torch.bool)
        stroke[21, 5:70] = True
        assert not as_seen(stroke, view, tmp_path / "stroke.png").any()
        kept = as_seen(stroke, view, tmp_path / "stroke.png", thin=True)
        assert kept[5, 1:17].all() and int(kept.sum()) == 17

    def test_labels_of_another_shape_are_refused(self, tmp_path: Path):
        view = photographed(LENS, (40, 30), tmp_path / "photo.png")
        with pytest.raises(
            SceneError, match=r"label\.png has 80x80 pixels, but the photo of photo\.png has 80x60"
        ):
            as_seen(torch.zeros(80, 80, dtype=torch.bool), view, tmp_path / "label.png")

    def test_pictures_in_memory_have_labels_too(self):
        camera = looking((3.0, 0.0, 1.0), size=(8, 6))
        view = View("a", camera, "train", Canvas(torch.zeros(12, 16, 3)))
        label = torch.zeros(12, 16, dtype=torch.bool)
        label[4:8, 6:10] = True
        seen = as_seen(label, view, Path("label.png"))
        assert seen[2:4, 3:5].all() and int(seen.sum()) == 4
        assert photo_pixel(view, 2.0, 1.0) == pytest.approx((4.0, 2.0))

    def test_alpha_is_not_a_label(self, tmp_path: Path):
        pixels = np.zeros((4, 5, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        pixels[1, 2, 0] = 1
        label = read_label(photo(tmp_path / "mask.png", pixels))
        assert label[1, 2] and int(label.sum()) == 1

    def test_polygons_hold_their_border(self):
        mask = polygon_mask(np.array([[1, 1], [5, 1], [5, 3], [1, 3]]), 8, 6)
        expected = torch.zeros(6, 8, dtype=torch.bool)
        expected[1:4, 1:6] = True
        assert torch.equal(mask, expected)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with instance masks and clicks."""
    return truth_scene(tmp_path_factory.mktemp("bench") / "truth", truth_field())


@pytest.fixture(scope="module")
def field(truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = truth_field()
    path = tmp_path_factory.mktemp("field") / "truth.safetensors"
    return write_archive(replace(base, about=replace(base.about, data=str(truth))), path)


def ids_of(scene: Path, number: int) -> np.ndarray:
    from PIL import Image

    return np.array(Image.open(scene / "instance" / f"{number:03d}.png"))


def wide(mask: np.ndarray) -> np.ndarray:
    """A label picture of twice the photo's size."""
    return np.kron(mask.astype(np.uint8) * 255, np.ones((2, 2), dtype=np.uint8))


def nvos(folder: Path, scene: Path) -> Path:
    """The red ball ("balls_red") of a scene in the layout of NVOS: strokes in 004, the mask of 002."""
    shutil.copytree(scene, folder / "scenes" / "balls")
    labels = folder / "labels" / "llff"
    ids = wide(ids_of(scene, 4) == 1)
    red, strokes = np.argwhere(ids > 0), np.zeros_like(ids)
    strokes[red[len(red) // 2 - 2 : len(red) // 2 + 2, 0], red[len(red) // 2 - 2 : len(red) // 2 + 2, 1]] = (
        255
    )
    other = np.zeros_like(ids)
    other[::6, ::3] = 255
    other[ids > 0] = 0
    photo(labels / "scribbles" / "balls_red" / "pos_0_balls.png", strokes)
    photo(labels / "scribbles" / "balls_red" / "neg_0_balls.png", other)
    photo(labels / "reference_image" / "balls_red" / "004.JPG", np.zeros((40, 40, 3), dtype=np.uint8))
    photo(labels / "masks" / "balls_red" / "002_mask.png", wide(ids_of(scene, 2) == 1))
    photo(labels / "masks" / "balls_red" / "002.JPG", np.zeros((40, 40, 3), dtype=np.uint8))
    return folder


def spin_nerf(folder: Path, scene: Path) -> Path:
    """The blue ball in the layout of SPIn-NeRF, its photos called by number."""
    shutil.copytree(scene, folder / "scenes" / "balls")
    place = folder / "labels" / "Balls (made)"
    for number in (0, 2, 5):
        photo(place / f"image{number:03d}.png", (ids_of(scene, number) == 2).astype(np.uint8))
    photo(place / "image002_cutout.png", np.zeros((5, 5), dtype=np.uint8))
    return folder


def lerf_ovs(folder: Path, scene: Path) -> Path:
    """Red and blue in the layout of LERF-OVS, in pixels of photos twice as large."""
    shutil.copytree(scene, folder / "balls")
    for number in (1, 6):
        objects = []
        for id, phrase in ((1, "red ball"), (2, "blue ball")):
            places = np.argwhere(ids_of(scene, number) == id)
            if not len(places):
                continue
            (y0, x0), (y1, x1) = 2 * places.min(0), 2 * places.max(0) + 2
            corners = [[x0, (y0 + y1) / 2], [(x0 + x1) / 2, y0], [x1, (y0 + y1) / 2], [(x0 + x1) / 2, y1]]
            box = [float(value) for value in (x0, y0, x1, y1)]
            corners = [[float(x), float(y)] for x, y in corners]
            objects.append({"category": phrase, "segmentation": corners, "bbox": box})
        info = {"name": f"{number:03d}.png", "width": 80, "height": 80}
        path = folder / "label" / "balls" / f"frame_{number:05d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"info": info, "objects": objects}))
    return folder


class Words:
    """Colours of patches of 2 x 2 pixels, and words for some of them."""

    fingerprint, dim, stride = "words", 3, 2

    def __init__(self, device: object = "cpu") -> None:
        del device

    def __call__(self, images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images, 2)

    def embed_text(self, phrases: Sequence[str]) -> Tensor:
        known = {"red ball": (0.85, 0.12, 0.1), "blue ball": (0.12, 0.2, 0.8)}
        return torch.tensor([known.get(phrase, (0.5, 0.5, 0.45)) for phrase in phrases])


def measured(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """What `ff bench segment --json` says: one JSON object on stdout."""
    code = main(["bench", "segment", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err or captured.out
    assert captured.out.count("\n") == 1 and not captured.err
    return json.loads(captured.out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that `ff bench segment` fails with."""
    assert main(["bench", "segment", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert not captured.out and captured.err.count("\n") == 1, captured.err
    return captured.err


class TestFolders:
    def test_nvos(self, truth: Path, tmp_path: Path):
        (found,) = read_nvos(nvos(tmp_path, truth))
        assert (found.name, found.reference, found.target) == ("balls_red", "004", "002")
        assert found.photos == tmp_path / "scenes" / "balls"
        assert [path.name for path in (*found.positive, *found.negative)] == [
            "pos_0_balls.png", "neg_0_balls.png",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "missing, told",
        [
            ("labels", "holds no NVOS labels"),
            ("labels/llff/scribbles/balls_red/neg_0_balls.png", r"has no neg_\* picture"),
            ("labels/llff/scribbles/balls_red", "strokes of NVOS object 'balls_red'"),
            ("labels/llff/reference_image/balls_red/004.JPG", "exactly one reference photo"),
            ("labels/llff/masks/balls_red/002_mask.png", r"exactly one \*_mask picture"),
            ("labels/llff/masks/balls_red", "holds no scene of NVOS"),
            ("scenes/balls", "no photos of 'balls_red'"),
        ],
    )
    def test_nvos_with_something_missing(self, truth: Path, tmp_path: Path, missing: str, told: str):
        path = nvos(tmp_path, truth) / missing
        path.unlink() if path.is_file() else shutil.rmtree(path)
        with pytest.raises(SceneError, match=told):
            read_nvos(tmp_path)

    def test_spin_nerf(self, truth: Path, tmp_path: Path):
        (found,) = read_spin_nerf(spin_nerf(tmp_path, truth))
        assert found.name == "Balls" and found.photos == tmp_path / "scenes" / "balls"
        assert list(found.masks) == ["image000", "image002", "image005"]
        for name in ("image002", "image005"):
            (tmp_path / "labels" / "Balls (made)" / f"{name}.png").unlink()
        with pytest.raises(SceneError, match="has 1 masks"):
            read_spin_nerf(tmp_path)

    def test_labels_find_their_photos(self, truth: Path):
        scene = read_scene(truth)
        assert labelled_view(scene, "003").name == "images/003.png"
        assert labelled_view(scene, "image005").name == "images/005.png"
        assert labelled_view(scene, "1_004").name == "images/004.png"
        gone = replace(scene, views=scene.views[1:], missing=("images/000.png",))
        assert labelled_view(gone, "image005").name == "images/005.png"
        for stem in ("image000", "image099", "2_004", "IMG_1"):
            with pytest.raises(SceneError, match="belongs to no photo"):
                labelled_view(gone, stem)

    def test_lerf_ovs(self, truth: Path, tmp_path: Path):
        (found,) = read_lerf_ovs(lerf_ovs(tmp_path, truth))
        assert found.name == "balls" and [frame.photo for frame in found.frames] == ["001", "006"]
        assert {label.phrase for label in found.frames[0].labels} <= {"red ball", "blue ball"}
        assert all(label.mask.shape == (80, 80) and label.mask.any() for label in found.frames[0].labels)

    def test_objects_of_one_category_are_one_query(self, tmp_path: Path):
        square = [[1, 1], [3, 1], [3, 3], [1, 3]]
        other = [[6, 6], [8, 6], [8, 8], [6, 8]]
        objects = [
            {"category": "cup", "segmentation": square, "bbox": [3, 3, 1, 1]},
            {"category": "cup", "segmentation": other, "bbox": [6, 6, 8, 8]},
        ]
        path = tmp_path / "frame_00001.json"
        path.write_text(json.dumps({"info": {"name": "a.jpg", "width": 10, "height": 9}, "objects": objects}))
        (label,) = read_frame(path).labels
        assert label.boxes == ((1, 1, 3, 3), (6, 6, 8, 8)) and int(label.mask.sum()) == 18

    @pytest.mark.parametrize(
        "document, told",
        [
            ({"objects": []}, "info needs name, width and height"),
            ({"info": {"name": "a.jpg", "width": 9, "height": 9}, "objects": [{"bbox": []}]}, "no category"),
            (
                {"info": {"name": "a.jpg", "width": 9, "height": 9},
                 "objects": [{"category": "cup", "segmentation": [[1, 2]], "bbox": [1, 2, 3, 4]}]},
                "found 1 points",
            ),
            (
                {"info": {"name": "a.jpg", "width": 9, "height": 9},
                 "objects": [{"category": "cup", "segmentation": "left", "bbox": [1, 2, 3, 4]}]},
                "not a list of numbers",
            ),
        ],
    )  # fmt: skip
    def test_damaged_labels(self, tmp_path: Path, document: dict, told: str):
        path = tmp_path / "frame_00001.json"
        path.write_text(json.dumps(document))
        with pytest.raises(SceneError, match=told):
            read_frame(path)

    def test_instance_masks_are_a_benchmark(self, truth: Path):
        scene = read_scene(truth)
        tasks = instance_tasks(scene, scene_objects(scene))
        assert [task.name for task in tasks] == list(PARTS)
        fitted = [view.name for view in scene.split("train")]
        for task, (_, id) in zip(tasks, PARTS.values(), strict=True):
            sizes = {name: int((ids_of(truth, int(Path(name).stem)) == id).sum()) for name in fitted}
            assert sizes[task.reference.view] == max(sizes.values()) == int(task.reference.positive.sum())
            assert task.reference.whole and not (task.reference.positive & task.reference.negative).any()
            assert {target.view for target in task.targets} <= {view.name for view in scene.split("test")}

    def test_without_clicks_the_largest_masks_are_clicked(self, truth: Path, tmp_path: Path):
        scene = read_scene(truth)
        objects = scene_objects(scene)
        assert first_clicks(scene, objects) == read_clicks(scene)
        clicks = first_clicks(replace(scene, folder=tmp_path), objects)
        assert [click.name for click in clicks] == list(PARTS)
        for click, task in zip(clicks, instance_tasks(scene, objects), strict=True):
            assert click.view == task.reference.view
            assert (round(click.x), round(click.y)) == centre_of(task.reference.positive)
            assert click.x == pytest.approx(round(click.x), abs=1e-4)


class TestBench:
    def test_clicks_and_the_simulated_user(self, capsys, truth: Path, field: Path, tmp_path: Path):
        path = tmp_path / "report.json"
        facts = measured(capsys, "--data", truth, "--field", field, "--clicks", 3, "-o", path)
        assert facts["objects"] == 3 and facts["views_judged"] == 2 and facts["paths"] == [str(path)]
        assert facts["views_the_user_looks_at"] == 7
        assert list(facts["click_mIoU"]) == list(facts["mean_clicks_to_85_IoU"]) == ["indep", "colour"]
        for name in ("indep", "colour"):
            rows = facts["simulated_user"][name]["rows"]
            assert [row["name"] for row in rows] == list(PARTS)
            single = facts["single_click"][name]["objects"]
            for row, one in zip(rows, single, strict=True):
                assert len(row["ious"]) == 3 and row["ious"][0] == pytest.approx(one["iou"], abs=1e-5)
                assert 1 <= len(row["record"]) <= 3 and row["record"][0]["positive"]
                reached = [number for number, iou in enumerate(row["ious"], 1) if iou >= 0.85]
                assert row["clicks"] == (reached[0] if reached else None)
            assert facts["ms_a_click"][name] > 0
        written = json.loads(path.read_text())
        assert written["simulated_user"] == facts["simulated_user"]
        again = measured(capsys, "--data", truth, "--field", field, "--clicks", 3, "-o", path, "--overwrite")
        for entry in (facts, again):
            entry.pop("ms_a_click")
            for table in entry["simulated_user"].values():
                table.pop("click_ms")
        assert again == facts

    def test_the_user_clicks_in_a_session(self, truth: Path):
        """Features that are the parts, and first clicks on nothing: what is missing is clicked next, and suffices."""
        field, scene = measured_on(truth_field(), truth, Console(json=True))
        objects = scene_objects(scene)
        clicks = [replace(click, x=0.0, y=0.0) for click in read_clicks(scene)[:2]]
        trial = ClickTrial.of(field, scene, clicks, objects, rasterizer=choose_rasterizer("cpu"))
        features = torch.stack([part(name) for name in PARTS], -1).float()
        table = UserTrial.of(trial, 3).measure(with_features(field, features), 4)
        for row in table.rows:
            assert row.ious[0] == 0.0 and row.ious[1] > 0.9 and row.clicks == 2, row
            assert len(row.record) <= 4 and row.record[0]["view"] == clicks[0].view
        assert table.mean_clicks == 2.0 and table.reached == 1.0
        looked_at = {entry["view"] for row in table.rows for entry in row.record[1:]}
        assert looked_at <= {view.name for view in spread(scene.split("train"), 3)}

    def test_the_tables_are_for_people(self, capsys, truth: Path, field: Path, tmp_path: Path):
        arguments = ["--data", truth, "--field", field, "--clicks", 1, "--user-views", 2]
        assert main(["bench", "segment", *map(str, arguments), "-o", str(tmp_path / "a.json")]) == 0
        shown = capsys.readouterr().out
        for word in ("one click", "simulated user", "colour", "coated", "share"):
            assert word in shown, word
        assert "nan" not in shown

    def test_an_object_that_is_never_reached_is_told_so(self):
        rows = RegionRows((ClickRow("objects", "", 0.5, 0.6),), (ClickRow("cup", "matte", 0.5, 0.6),), ())
        user = UserTable((UserRow("cup", "matte", None, (0.5, 0.7)),))
        table, _ = click_tables(ClickResults({"colour": rows}, {"colour": user}))
        assert [next(iter(column.cells)) for column in table.columns][-1] == "over 2"
        assert user.mean_clicks == 2.0 and user.reached == 0.0

    def test_the_plain_field_is_compared(self, capsys, truth: Path, field: Path, tmp_path: Path):
        facts = measured(
            capsys, "--data", truth, "--field", field, "--clicks", 1, "--features", "classical",
            "--solvers", "uplift", "--cache", tmp_path, "-o", tmp_path / "a.json",
        )  # fmt: skip
        assert list(facts["click_mIoU"]) == ["DFF", "uplift indep", "colour"]

    def test_masks_of_one_view_in_others(self, capsys, truth: Path, field: Path, tmp_path: Path):
        facts = measured(
            capsys, "--protocol", "spin-nerf", "--data", truth, "--field", field, "-o", tmp_path / "a.json"
        )
        ways = ("2D render", "3D selection", "3D calibrated")
        rows = {(row["name"], row["features"], row["way"]): row for row in facts["rows"]}
        assert len(rows) == 3 * 2 * 3
        for name in ("red", "blue"):
            assert all(rows[name, "indep", way]["iou"] > 0.8 for way in (ways[0], ways[2])), rows
            assert rows[name, "indep", ways[1]]["iou"] > 0.5, rows
        for way in ways:
            values = [rows[name, "indep", way]["iou"] for name in PARTS]
            label = f"mIoU_{way.replace(' ', '_')}"
            assert facts[label]["indep"] == pytest.approx(sum(values) / 3, abs=1e-4)

    def test_features_without_information_find_nothing(
        self, capsys, truth: Path, field: Path, tmp_path: Path
    ):
        """The neighbour of the test above: the numbers are those of features, not of masks."""
        base = truth_field()
        noise = torch.randn(len(base), 4, generator=seeded(3))
        path = write_archive(
            base.with_splats(base.splats.with_columns(feature=noise)), tmp_path / "n.safetensors"
        )
        facts = measured(
            capsys, "--protocol", "spin-nerf", "--data", truth, "--field", path, "-o", tmp_path / "a.json"
        )
        rows = {(row["name"], row["way"]): row for row in facts["rows"] if row["features"] == "indep"}
        assert all(rows[name, "2D render"]["iou"] < 0.7 for name in ("red", "blue"))

    def test_nvos(self, capsys, truth: Path, field: Path, tmp_path: Path):
        data, fields = nvos(tmp_path / "nvos", truth), tmp_path / "fields"
        fields.mkdir()
        shutil.copy(field, fields / "balls.safetensors")
        arguments = ["--protocol", "nvos", "--data", data, "-o", tmp_path / "a.json"]
        facts = measured(capsys, *arguments, "--field", fields)
        rows = {(row["features"], row["way"]): row for row in facts["rows"]}
        assert rows["indep", "2D render"]["iou"] > 0.7 and rows["indep", "3D selection"]["iou"] > 0.7
        assert rows["indep", "2D render"]["accuracy"] > 0.95 and facts["scenes"] == 1
        assert any("1 of the judged photos may have been fitted" in note for note in facts["notes"])
        (data / "labels" / "llff" / "scribbles" / "balls_red" / "pos_0_balls.png").unlink()
        photo(
            data / "labels" / "llff" / "scribbles" / "balls_red" / "pos_0_balls.png",
            np.zeros((80, 80), dtype=np.uint8),
        )
        told = refused(capsys, *arguments, "--field", fields, "--overwrite")
        assert "pos_0_balls.png marks no pixel" in told

    def test_spin_nerf(self, capsys, truth: Path, field: Path, tmp_path: Path):
        data = spin_nerf(tmp_path / "spin", truth)
        facts = measured(
            capsys, "--protocol", "spin-nerf", "--data", data, "--field", field, "-o", tmp_path / "a.json"
        )
        assert all(row["views"] == 2 and row["name"] == "Balls" for row in facts["rows"])
        assert facts["mIoU_2D_render"]["indep"] > 0.8

    def test_lerf_ovs(
        self, capsys, monkeypatch: pytest.MonkeyPatch, truth: Path, field: Path, tmp_path: Path
    ):
        monkeypatch.setitem(EXTRACTORS.entries, "words", "test_bench_segment:Words")
        data = lerf_ovs(tmp_path / "lerf", truth)
        arguments = ["--protocol", "lerf-ovs", "--data", data, "--field", field, "--features", "words"]
        arguments += ["--cache", tmp_path / "cache", "-o", tmp_path / "a.json"]
        facts = measured(capsys, *arguments, "--solvers", "uplift")
        assert {row["features"] for row in facts["rows"]} == {"DFF", "uplift indep"}
        assert facts["localisation_accuracy_2D_render"]["DFF"] == 1.0
        assert facts["mIoU_2D_render"]["DFF"] > 0.5 and facts["mIoU_3D_selection"]["DFF"] > 0.4
        told = refused(capsys, *arguments, "--overwrite")
        assert "(indep) are of an unknown extractor, and the phrases of words" in told

    def test_words_need_a_text_tower(self, capsys, truth: Path, field: Path, tmp_path: Path):
        data = lerf_ovs(tmp_path / "lerf", truth)
        arguments = ["--protocol", "lerf-ovs", "--data", data, "--field", field, "-o", tmp_path / "a.json"]
        assert "--features names no extractor" in refused(capsys, *arguments)
        assert "'classical' has no text tower" in refused(capsys, *arguments, "--features", "classical")

    def test_without_a_field_one_is_fitted(
        self, capsys, monkeypatch: pytest.MonkeyPatch, truth: Path, field: Path, tmp_path: Path
    ):
        from featurefields_cli import fit

        asked = []

        def fitted(options: fit.FitOptions, console: object) -> None:
            asked.append(options)
            options.output.mkdir(parents=True)
            shutil.copy(field, options.output / "field.safetensors")

        monkeypatch.setattr(fit, "run", fitted)
        path = tmp_path / "report.json"
        for _ in range(2):
            measured(capsys, "--data", truth, "--clicks", 1, "-o", path, "--overwrite")
        assert [options.data for options in asked] == [truth]
        assert asked[0].output == tmp_path / "report_fields" / "truth" and asked[0].lifting.features == "auto"


class TestRefused:
    def test_nonsense(self, capsys, truth: Path, field: Path, tmp_path: Path):
        given = ["--data", truth, "--field", field, "-o", tmp_path / "a.json"]
        assert "--clicks must be at least 1" in refused(capsys, *given, "--clicks", 0)
        assert "--user-views must be at least 0" in refused(capsys, *given, "--user-views", -1)
        assert "--features names no extractor" in refused(capsys, *given, "--solvers", "uplift")
        assert "does not exist" in refused(capsys, "--data", tmp_path / "none", "-o", tmp_path / "a.json")
        (tmp_path / "a.json").write_text("{}")
        assert "--overwrite" in refused(capsys, *given)

    def test_folders_that_are_no_benchmark(self, capsys, truth: Path, field: Path, tmp_path: Path):
        given = ["--field", field, "-o", tmp_path / "a.json"]
        assert "holds no NVOS labels" in refused(capsys, "--protocol", "nvos", "--data", truth, *given)
        bare = shutil.copytree(truth, tmp_path / "truth")
        frames = json.loads((bare / "transforms.json").read_text())["frames"]
        edited_document(bare, frames=[{k: v for k, v in f.items() if "instance" not in k} for f in frames])
        told = refused(capsys, "--protocol", "spin-nerf", "--data", bare, *given)
        assert "neither a folder labels (SPIn-NeRF) nor photos with instance masks" in told
        (bare / "clicks.json").unlink()
        assert "nobody knows what a click means" in refused(capsys, "--data", bare, *given)

    def test_fields_of_other_scenes(self, capsys, truth: Path, field: Path, tmp_path: Path):
        data = nvos(tmp_path / "nvos", truth)
        shutil.copytree(data / "scenes" / "balls", data / "scenes" / "other")
        for kind in ("masks", "scribbles", "reference_image"):
            place = data / "labels" / "llff" / kind
            shutil.copytree(place / "balls_red", place / "other")
        fields = tmp_path / "fields"
        fields.mkdir()
        shutil.copy(field, fields / "balls.safetensors")
        told = refused(
            capsys, "--protocol", "nvos", "--data", data, "--field", fields, "-o", tmp_path / "a.json"
        )
        assert "holds no field for" in told and "ff fit --data" in told
