"""Laws of frozen views, which every backend of FF_BACKENDS obeys, and of the memory that the CPU's keep."""

import threading

import numpy as np
import pytest
import torch
from laws import CONFIG, KINDS, random_scene, seeded
from torch import Tensor

from featurefields.camera import Camera
from featurefields.raster import FrozenView, FrozenViews, Rasterizer
from featurefields.raster.cpu import CpuRasterizer, contributions, frame
from featurefields.splats import Splats

SIZES = [(1, 1), (7, 5), (16, 16), (33, 50)]
CPU = CpuRasterizer()
TESTS_APART = 5e-3
"""gsplat cuts faint tails off elsewhere than the reference, which ranks its contributors."""


def single(name: str, n: int, size: tuple[int, int], seed: int, device="cpu", **options):
    """A random scene in float32 on the backend's device."""
    splats, channels, camera = random_scene(name, n, size, seed, **options)
    return (
        splats.to(torch.float32).to(device),
        channels.float().to(device),
        camera.to(torch.float32).to(device),
    )


def weights_of(backend: Rasterizer, splats: Splats, camera: Camera) -> Tensor:
    """W written out, (h w n): every Gaussian draws a channel of its own."""
    one_hot = torch.eye(len(splats), device=splats.means.device)
    return backend.draw(splats, one_hot, camera, CONFIG).image


def nearest_first(splats: Splats, camera: Camera) -> Tensor:
    """Indices (n) by depth, ties by index."""
    return torch.argsort(camera.project(splats.means)[1], stable=True)


def ranked(weights: Tensor, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Brute force of contributors: ids and weights (h w k), of which those that are not there are -1 and 0."""
    sorted_, places = torch.sort(weights[..., order], dim=-1, descending=True, stable=True)
    ids = torch.where(sorted_ > 0, order[places], -1)
    missing = max(0, count - len(order))
    pad = torch.nn.functional.pad
    return pad(ids, (0, missing), value=-1)[..., :count], pad(sorted_, (0, missing))[..., :count]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_a_frozen_view_is_the_same_matrix(backend, device, name, size):
    """Its picture, coverage and transpose are those of drawing; <W x, m> = <x, W' m>."""
    splats, x, camera = single(name, 40, size, 3, device, channels=5)
    maps = torch.randn(size[1], size[0], 5, generator=seeded(4)).to(device)
    view = backend.freeze(splats, camera, CONFIG)
    assert isinstance(view, FrozenView)
    drawn = backend.draw(splats, x, camera, CONFIG)
    image, gathered = view.draw(x), view.gather(maps)
    torch.testing.assert_close(image, drawn.image, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(view.alpha, drawn.alpha, atol=1e-6, rtol=0)
    torch.testing.assert_close(gathered, backend.gather(splats, maps, camera, CONFIG), atol=2e-5, rtol=1e-5)
    assert view.alpha.any() == (name != "invisible")
    left, right = (image.double() * maps.double()).sum(), (x.double() * gathered.double()).sum()
    terms = float((image * maps).abs().double().sum()) + 1e-6
    assert abs(float(left - right)) < 1e-5 * terms
    nudged = gathered.double() * (1 + 1e-2 * x.double().sign() * gathered.sign())
    assert not gathered.any() or abs(float(left - (x.double() * nudged).sum())) > 1e-5 * terms


@pytest.mark.parametrize("channels", [1, 3, 4, 16, 19, 40])
def test_the_derivative_of_a_frozen_picture_is_gather(backend, device, channels):
    splats, x, camera = single("plain", 50, (21, 18), channels, device, channels=channels)
    maps = torch.randn(18, 21, channels, generator=seeded(4)).to(device)
    view, leaf = backend.freeze(splats, camera, CONFIG), x.clone().requires_grad_()
    image = view.draw(leaf)
    (gradient,) = torch.autograd.grad(image, leaf, maps)
    assert gradient.any()
    torch.testing.assert_close(gradient, view.gather(maps), atol=1e-5, rtol=1e-5)
    assert not view.draw(x).requires_grad and not view.gather(maps.requires_grad_()).requires_grad


def test_a_strided_gradient_of_a_frozen_picture(backend, device):
    splats, x, camera = single("plain", 30, (20, 12), 2, device)
    view, leaf = backend.freeze(splats, camera, CONFIG), x.clone().requires_grad_()
    maps = torch.randn(20, 12, 3, generator=seeded(1)).to(device).permute(1, 0, 2)
    (strided,) = torch.autograd.grad(view.draw(leaf), leaf, maps)
    (dense,) = torch.autograd.grad(view.draw(leaf), leaf, maps.contiguous())
    assert torch.equal(strided, dense)
    assert torch.equal(view.gather(maps), view.gather(maps.contiguous()))
    wide = torch.cat([x, x], dim=1)[:, ::2]
    assert torch.equal(view.draw(wide), view.draw(wide.contiguous()))


def test_freezing_detaches(backend, device):
    """Splats that are being fitted can be frozen; later changes of what was frozen are no business of gradients."""
    splats, x, camera = single("plain", 20, (12, 9), 5, device)
    fitted = splats.each(lambda tensor: tensor.clone().requires_grad_())
    view = backend.freeze(fitted, camera, CONFIG)
    assert not view.alpha.requires_grad and not view.draw(x).requires_grad
    assert not view.gather(torch.ones(9, 12, 2, device=device)).requires_grad
    torch.testing.assert_close(view.draw(x), backend.freeze(splats, camera, CONFIG).draw(x))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", KINDS)
def test_contributors_are_the_largest_weights(backend, device, name, count):
    splats, _, camera = single(name, 36, (19, 13), 7, device)
    found = backend.freeze(splats, camera, CONFIG).contributors(count)
    weights = weights_of(backend, splats, camera)
    ids, values = ranked(weights, nearest_first(splats, camera), count)
    assert found.ids.shape == found.weights.shape == (13, 19, count) and found.ids.dtype == torch.int64
    assert bool((found.weights[..., :-1] >= found.weights[..., 1:]).all())
    assert torch.equal(found.ids == -1, found.weights == 0)
    for pixel in found.ids.reshape(-1, count).tolist():
        named = [who for who in pixel if who >= 0]
        assert len(set(named)) == len(named)
    if backend.name == "gsplat":
        torch.testing.assert_close(found.weights, values, atol=TESTS_APART, rtol=0)
        return
    assert torch.equal(found.ids, ids)
    torch.testing.assert_close(found.weights, values, atol=1e-7, rtol=1e-6)
    assert bool((found.ids >= 0).any()) == (name != "invisible")


def test_more_contributors_than_gaussians(backend, device):
    splats, _, camera = single("plain", 3, (9, 6), 2, device)
    found = backend.freeze(splats, camera, CONFIG).contributors(7)
    assert found.ids.shape == (6, 9, 7) and not found.weights[..., 3:].any()
    assert bool((found.ids[..., 3:] == -1).all()) and bool((found.ids[..., 0] >= 0).any())


def two_walls(logit: float, nearer: int, device) -> Splats:
    """Two Gaussians as wide as the world: opacity 0.3 in front, `logit` behind; `nearer` is the front one's index."""
    depths = torch.tensor([1.0, 2.0] if nearer == 0 else [2.0, 1.0])
    means = torch.stack([torch.zeros(2), torch.zeros(2), depths], dim=-1)
    front, behind = torch.logit(torch.tensor(0.3)), torch.tensor(logit)
    logits = torch.stack([front, behind] if nearer == 0 else [behind, front])
    turn = torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1)
    return Splats(means, turn, torch.full((2, 3), 7.0), logits).to(device)


@pytest.mark.parametrize("nearer", [0, 1])
def test_of_equal_weights_the_nearest_comes_first(backend, device, nearer):
    """Opacities a and about a / (1 - a), until rounding makes the weights equal in all bits."""
    camera = Camera(torch.eye(4), torch.tensor([4.0, 4.0]), torch.tensor([2.0, 2.0]), (4, 4)).to(device)
    ties = 0
    for step in range(-120, 121):
        splats = two_walls(float(np.log(0.3 / 0.4)) + 2e-8 * step, nearer, device)
        weights = weights_of(backend, splats, camera)
        tied = weights[..., 0] == weights[..., 1]
        if not tied.any():
            continue
        ties += 1
        found = backend.freeze(splats, camera, CONFIG).contributors(2)
        assert bool((found.ids[tied] == torch.tensor([nearer, 1 - nearer], device=device)).all())
        assert torch.equal(found.weights[tied][:, 0], found.weights[tied][:, 1])
        alone = backend.freeze(splats, camera, CONFIG).contributors(1)
        assert bool((alone.ids[tied] == nearer).all())
        if ties == 3:
            break
    assert ties > 0 or backend.name == "gsplat"


@pytest.mark.parametrize("name", KINDS)
def test_visibility_is_the_sum_and_peak_of_the_columns(backend, device, name):
    splats, _, camera = single(name, 36, (37, 22), 8, device)
    found = backend.freeze(splats, camera, CONFIG).visibility()
    weights = weights_of(backend, splats, camera)
    assert found.total.shape == found.peak.shape == (36,)
    if backend.name == "gsplat":
        torch.testing.assert_close(found.peak, weights.amax((0, 1)), atol=TESTS_APART, rtol=0)
        return
    torch.testing.assert_close(found.total, weights.double().sum((0, 1)).float(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(found.peak, weights.amax((0, 1)), atol=1e-7, rtol=1e-6)
    assert bool(found.peak.any()) == (name != "invisible")


def test_a_view_of_nothing(backend, device):
    splats, _, camera = single("plain", 5, (9, 7), 1, device)
    view = backend.freeze(splats.select(torch.arange(0)), camera, CONFIG)
    assert not view.draw(torch.zeros(0, 3, device=device)).any() and not view.alpha.any()
    assert view.gather(torch.ones(7, 9, 3, device=device)).shape == (0, 3)
    assert bool((view.contributors(2).ids == -1).all()) and view.visibility().total.shape == (0,)


def everything(view: FrozenView, x: Tensor, maps: Tensor) -> dict[str, Tensor]:
    """All that a view gives, derivative included."""
    leaf = x.clone().requires_grad_()
    image = view.draw(leaf)
    (gradient,) = torch.autograd.grad(image, leaf, maps)
    strongest, seen = view.contributors(3), view.visibility()
    return {
        "image": image.detach(),
        "gradient": gradient,
        "gathered": view.gather(maps),
        "alpha": view.alpha,
        "ids": strongest.ids,
        "weights": strongest.weights,
        "total": seen.total,
        "peak": seen.peak,
    }


def assert_same_bits(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.equal(found[key], value), key


@pytest.fixture
def small_chunks(monkeypatch):
    """A function that sets how many entries a chunk has, with no larger memory left over from before."""

    def cut(entries: int, threads: int = 2) -> None:
        monkeypatch.setattr(contributions, "CHUNK", entries)
        monkeypatch.setattr(contributions, "_scratch", type(contributions._scratch)())
        monkeypatch.setattr(frame, "thread_count", lambda: threads)

    return cut


@pytest.mark.parametrize("channels", [3, 19])
@pytest.mark.parametrize("name", ["plain", "crowded", "huge", "invisible"])
def test_any_budget_and_any_chunk_give_the_same_bits(name, channels, small_chunks):
    splats, x, camera = single(name, 90, (70, 53), 4, channels=channels)
    maps = torch.randn(53, 70, channels, generator=seeded(5))
    whole = CPU.freeze(splats, camera, CONFIG)
    wanted = everything(whole, x, maps)
    partly = 0
    for chunk in (1, 32, 64, 2**15):
        small_chunks(chunk)
        full, least = (CPU.freeze(splats, camera, CONFIG, budget_bytes=b).nbytes for b in (2**30, 0))
        for budget in (0, full // 3, full // 2, full - 1, 2**33):
            view = CPU.freeze(splats, camera, CONFIG, budget_bytes=budget)
            before = view.nbytes
            assert before <= full and (budget > 0 or before == least) and (budget < 2**33 or before == full)
            partly += least < before < full
            assert_same_bits(everything(view, x, maps), wanted)
            assert view.nbytes == before, "products keep no more than freezing did"
    assert partly >= 4 or name == "invisible"


@pytest.mark.parametrize("chunk", [256, 1000, 2**15])
def test_a_view_keeps_no_more_than_its_budget(chunk, small_chunks):
    """Entries of any tile fit into a chunk; budgets around every multiple of a chunk."""
    splats, _, camera = single("tiny", 400, (120, 90), 6)
    small_chunks(chunk)
    full, least = (CPU.freeze(splats, camera, CONFIG, budget_bytes=b).nbytes for b in (2**33, 0))
    largest = full + 4 * contributions.ENTRY_BYTES * chunk
    kept = []
    for budget in np.linspace(0, largest, 60).astype(int).tolist():
        kept.append(CPU.freeze(splats, camera, CONFIG, budget_bytes=budget).nbytes)
        assert kept[-1] <= max(budget, least)
    assert kept == sorted(kept) and kept[0] == least and kept[-1] == full > least


def test_a_tile_with_more_entries_than_a_chunk_keeps_to_the_budget(small_chunks):
    splats, _, camera = single("huge", 200, (40, 30), 6)
    small_chunks(64)
    for budget in (2 * 64 * contributions.ENTRY_BYTES, 2**14, 2**16, 2**18):
        least, found = (CPU.freeze(splats, camera, CONFIG, budget_bytes=b).nbytes for b in (0, budget))
        assert found <= max(least, budget)


def test_a_full_chunk_keeps_to_the_budget(small_chunks):
    """Room for a batch of entries more and for the lists of the blocks counts, too."""
    splats, _, camera = single("crowded", 300, (64, 64), 6)
    for chunk in (2**11, 2**12, 2**13):
        small_chunks(chunk, threads=1)
        budget = chunk * contributions.ENTRY_BYTES
        least, found = (CPU.freeze(splats, camera, CONFIG, budget_bytes=b).nbytes for b in (0, budget))
        assert found <= max(least, budget)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_frozen_views_of_any_number_of_threads(threads, small_chunks):
    """Pictures and weights have the same bits; sums over pixels are in another order."""
    splats, x, camera = single("plain", 90, (70, 53), 4, channels=19)
    maps = torch.randn(53, 70, 19, generator=seeded(5))
    small_chunks(2**15, 3)
    wanted = everything(CPU.freeze(splats, camera, CONFIG), x, maps)
    small_chunks(64, threads)
    for budget in (0, 2**16, 2**30):
        found = everything(CPU.freeze(splats, camera, CONFIG, budget_bytes=budget), x, maps)
        for key in ("image", "alpha", "ids", "weights", "peak"):
            assert torch.equal(found[key], wanted[key]), key
        for key in ("gathered", "gradient", "total"):
            torch.testing.assert_close(found[key], wanted[key], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("budget", [0, 2**16, 2**30])
def test_a_view_serves_several_threads_at_once(budget, small_chunks):
    splats, x, camera = single("plain", 120, (70, 53), 4, channels=5)
    maps = torch.randn(53, 70, 5, generator=seeded(5))
    small_chunks(64)
    view = CPU.freeze(splats, camera, CONFIG, budget_bytes=budget)
    wanted, full = everything(view, x, maps), CPU.freeze(splats, camera, CONFIG).nbytes
    assert view.nbytes == full if budget == 2**30 else view.nbytes < full
    results: list[dict[str, Tensor]] = []
    ready = threading.Barrier(6, timeout=20)

    def use() -> None:
        ready.wait()
        results.extend([everything(view, x, maps) for _ in range(8)])

    users = [threading.Thread(target=use) for _ in range(6)]
    for user in users:
        user.start()
    for user in users:
        user.join(timeout=60)
    assert len(results) == 48
    for found in results:
        assert_same_bits(found, wanted)


def cameras_around(count: int, size: tuple[int, int]) -> tuple[Splats, Tensor, list[Camera]]:
    """A scene, its channels and cameras that see it, moved a little from each other."""
    splats, x, camera = single("plain", 60, size, 9)
    cameras = []
    for step in range(count):
        pose = camera.world_from_camera.clone()
        pose[:3, 3] += 0.05 * step * pose[:3, 0]
        cameras.append(Camera(pose, camera.focal_px, camera.centre_px, camera.size))
    return splats, x, cameras


class Counting:
    """A rasterizer that counts how often it freezes."""

    name = "counting"

    def __init__(self, inner: Rasterizer) -> None:
        self.inner, self.frozen = inner, 0
        self.draw, self.gather = inner.draw, inner.gather

    def freeze(self, *arguments, **options) -> FrozenView:
        self.frozen += 1
        return self.inner.freeze(*arguments, **options)


def test_views_are_those_of_their_cameras(backend, device):
    splats, x, cameras = cameras_around(4, (24, 17))
    splats, x, cameras = splats.to(device), x.to(device), [camera.to(device) for camera in cameras]
    views = FrozenViews(backend, splats, cameras, CONFIG)
    assert len(views) == 4
    pictures = [view.draw(x) for view in views]
    for picture, camera in zip(pictures, cameras, strict=True):
        torch.testing.assert_close(
            picture, backend.draw(splats, x, camera, CONFIG).image, atol=1e-6, rtol=1e-6
        )
    assert not torch.equal(pictures[0], pictures[1])
    for index in range(-4, 0):
        assert torch.equal(views[index].draw(x), pictures[index])
    for index in (4, -5):
        with pytest.raises(IndexError):
            views[index]


def test_views_that_fit_are_made_once():
    splats, _, cameras = cameras_around(5, (24, 17))
    counting = Counting(CPU)
    views = FrozenViews(counting, splats, cameras, CONFIG)
    assert counting.frozen == 0 and views.nbytes == 0
    first = [views[index] for index in range(5)]
    assert [views[index - 5] for index in range(5)] == first and counting.frozen == 5
    assert views.nbytes == sum(view.nbytes for view in first) > 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.9])
def test_going_round_never_exceeds_the_budget_and_changes_no_bit(share, small_chunks):
    splats, x, cameras = cameras_around(6, (60, 44))
    maps = torch.randn(44, 60, 3, generator=seeded(3))
    small_chunks(256)
    alone = [everything(CPU.freeze(splats, camera, CONFIG), x, maps) for camera in cameras]
    full = sum(CPU.freeze(splats, camera, CONFIG).nbytes for camera in cameras)
    budget = int(share * full)
    views, after_a_round = FrozenViews(CPU, splats, cameras, CONFIG, budget_bytes=budget), []
    for _ in range(3):
        for index, wanted in enumerate(alone):
            assert_same_bits(everything(views[index], x, maps), wanted)
            assert views.nbytes <= budget
        after_a_round.append(views.nbytes)
    assert after_a_round[0] == after_a_round[-1] and (after_a_round[0] > 0) == (share > 0)


def test_a_view_larger_than_what_is_left_is_not_kept():
    """Also where a backend keeps whole views whatever it is told."""
    splats, _, cameras = cameras_around(4, (60, 44))
    wasteful = Counting(CPU)
    wasteful.freeze = lambda splats, camera, config, **ignored: CPU.freeze(splats, camera, config)
    sizes = [CPU.freeze(splats, camera, CONFIG).nbytes for camera in cameras]
    views = FrozenViews(wasteful, splats, cameras, CONFIG, budget_bytes=sizes[0] + sizes[1])
    assert [view.nbytes for view in views] == sizes
    assert views.nbytes == sizes[0] + sizes[1]
    assert views[0] is views[0] and views[1] is views[1]
    assert views[2] is not views[2] and views[3] is not views[3]


def test_a_budget_of_nothing_keeps_no_view():
    """A view without entries still has its projected Gaussians, so that it is not free to keep."""
    splats, x, cameras = cameras_around(3, (60, 44))
    counting = Counting(CPU)
    views = FrozenViews(counting, splats, cameras, CONFIG, budget_bytes=0)
    pictures = [[view.draw(x) for view in views] for _ in range(2)]
    assert all(torch.equal(*pair) for pair in zip(*pictures, strict=True)) and views.nbytes == 0
    assert counting.frozen == 6


def test_a_passing_view_holds_its_contributions_while_it_is_used(monkeypatch):
    """It draws and gathers the same bits, is not kept, and is weighed once instead of in every product."""
    splats, x, cameras = cameras_around(3, (60, 44))
    maps = torch.randn(44, 60, 3, generator=seeded(3))
    weighed, weigh = [], contributions.Contributions._weigh
    monkeypatch.setattr(
        contributions.Contributions, "_weigh", lambda *args: (weighed.append(args), weigh(*args))[1]
    )

    def products(passing: int) -> tuple[list[Tensor], int]:
        views = FrozenViews(CPU, splats, cameras, CONFIG, budget_bytes=0, passing_bytes=passing)
        weighed.clear()
        found = [tensor for view in views for tensor in (view.draw(x), view.gather(maps))]
        assert views.nbytes == 0
        return found, len(weighed)

    (made_anew, often), (held, once) = products(0), products(2**30)
    assert all(torch.equal(*pair) for pair in zip(made_anew, held, strict=True))
    assert often == 3 * once > 0
