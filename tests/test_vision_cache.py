"""Feature maps: keys, the cache on disk, its cap, and what happens when the disk says no."""

import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from featurefields.camera import Camera
from featurefields.errors import UnavailableError, UnknownNameError
from featurefields.scene import View
from featurefields.vision.cache import default_cache_dir, extract_features
from featurefields.vision.interface import Extractor, FeatureMap, fit_to_stride


@dataclass(frozen=True)
class Painting:
    """A picture that is held in memory."""

    pixels: Tensor
    path: Path = Path("painting.png")

    def image(self) -> Tensor:
        return self.pixels

    def mask(self) -> None:
        return None

    def depth(self) -> None:
        return None

    def layer(self, name: str) -> None:
        return None

    def photo_to_camera(self, x: float, y: float) -> tuple[float, float]:
        return x, y

    def photo_size(self) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass
class Counting:
    """Mean colours of 4 x 4 patches; remembers the batches it saw."""

    fingerprint: str = "counting"
    dim: int = 3
    stride: int = 4
    scale: float = 1.0
    batches: list[int] = field(default_factory=list)

    def __call__(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return torch.nn.functional.avg_pool2d(fit_to_stride(images, 4), 4) * self.scale

    @property
    def seen(self) -> int:
        return sum(self.batches)


def view(name: str, *, seed: int | None = None, size: tuple[int, int] = (16, 12)) -> View:
    generator = torch.Generator().manual_seed(sum(map(ord, name)) if seed is None else seed)
    pixels = torch.rand(size[1], size[0], 3, generator=generator)
    camera = Camera(torch.eye(4), torch.ones(2), torch.ones(2), size)
    return View(name, camera, "train", Painting(pixels))


VIEWS = [view("a"), view("b"), view("c")]


def files(folder: Path) -> list[Path]:
    return sorted((folder / "features").glob("*.safetensors"))


def expected(one: View) -> Tensor:
    eight_bit = (one.picture.image() * 255).round() / 255
    return torch.nn.functional.avg_pool2d(eight_bit.movedim(-1, 0), 4).half()


def test_second_run_computes_nothing(tmp_path):
    extractor = Counting()
    assert isinstance(extractor, Extractor)
    first = extract_features(VIEWS, extractor, cache_dir=tmp_path)
    assert extractor.seen == 3
    assert list(first) == ["a", "b", "c"]
    assert len(first) == 3
    again = extract_features(VIEWS, extractor, cache_dir=tmp_path)
    assert extractor.seen == 3
    for one in VIEWS:
        for maps in (first, again):
            assert maps[one.name].size == (16, 12)
            assert maps[one.name].grid == (4, 3)
            torch.testing.assert_close(maps[one.name].features, expected(one), atol=1e-3, rtol=0)
    assert extractor.seen == 3
    assert len(files(tmp_path)) == 3


def test_key_is_the_pixels_and_the_extractor_not_the_name(tmp_path):
    extractor = Counting()
    extract_features([view("a", seed=1)], extractor, cache_dir=tmp_path)
    extract_features([view("renamed", seed=1)], extractor, cache_dir=tmp_path)
    assert extractor.seen == 1
    extract_features([view("a", seed=2)], extractor, cache_dir=tmp_path)
    assert extractor.seen == 2
    other = Counting(fingerprint="other weights")
    extract_features([view("a", seed=1)], other, cache_dir=tmp_path)
    assert other.seen == 1
    flat = Painting(torch.full((12, 16, 3), 0.5)), Painting(torch.full((16, 12, 3), 0.5))
    for picture in flat:
        camera = Camera(torch.eye(4), torch.ones(2), torch.ones(2), picture.photo_size())
        maps = extract_features([View("flat", camera, "train", picture)], extractor, cache_dir=tmp_path)
        assert maps["flat"].size == picture.photo_size()


def test_batches_are_of_one_size_and_progress_ends_complete(tmp_path):
    extractor = Counting()
    views = [view("a"), view("b"), view("c"), view("d", size=(8, 8)), view("e")]
    told: list[tuple[int, int]] = []
    maps = extract_features(
        views, extractor, cache_dir=tmp_path, batch=2, on_progress=lambda *now: told.append(now)
    )
    assert extractor.batches == [2, 1, 1, 1]
    assert told == [(0, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    torch.testing.assert_close(maps["b"].features, expected(views[1]), atol=1e-3, rtol=0)
    assert maps["d"].size == (8, 8)
    told.clear()
    extract_features(views, extractor, cache_dir=tmp_path, on_progress=lambda *now: told.append(now))
    assert told == [(5, 5)]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_damaged_file_is_computed_again(tmp_path, damage, caplog):
    extractor = Counting()
    extract_features(VIEWS, extractor, cache_dir=tmp_path)
    victim = files(tmp_path)[1]
    content = bytearray(victim.read_bytes())
    content[-3] ^= 0x40
    spoiled = {"truncated": content[:-5], "flipped": content, "empty": b"", "text": b"not a feature map" * 9}
    victim.write_bytes(spoiled[damage])
    with caplog.at_level(logging.WARNING):
        maps = extract_features(VIEWS, extractor, cache_dir=tmp_path)
    assert extractor.seen == 4
    assert "damaged" in caplog.text
    for one in VIEWS:
        torch.testing.assert_close(maps[one.name].features, expected(one), atol=1e-3, rtol=0)
    extract_features(VIEWS, extractor, cache_dir=tmp_path)
    assert extractor.seen == 4


def test_file_that_vanishes_after_the_run_is_computed_again(tmp_path):
    extractor = Counting()
    maps = extract_features(VIEWS, extractor, cache_dir=tmp_path)
    for path in files(tmp_path):
        path.unlink()
    torch.testing.assert_close(maps["b"].features, expected(VIEWS[1]), atol=1e-3, rtol=0)
    assert extractor.seen == 4
    assert len(files(tmp_path)) == 1


def test_least_recently_used_go_first(tmp_path):
    extractor = Counting()
    room = 3 * 1200  # a map takes 72 bytes, a header and slack for it
    extract_features(VIEWS, extractor, cache_dir=tmp_path, max_bytes=room)
    long_ago = time.time() - 1000
    for age, path in enumerate(files(tmp_path)):
        os.utime(path, (long_ago - age, long_ago - age))
    extract_features([VIEWS[0]], extractor, cache_dir=tmp_path, max_bytes=room)  # "a" is used again
    in_use = max(files(tmp_path), key=lambda path: path.stat().st_mtime)
    extract_features([view("d"), view("e")], extractor, cache_dir=tmp_path, max_bytes=1800)
    left = files(tmp_path)
    assert in_use in left
    assert len(left) == 3 or sum(path.stat().st_size for path in left) <= 1800
    before = extractor.seen
    extract_features([VIEWS[0]], extractor, cache_dir=tmp_path)
    assert extractor.seen == before


def test_cap_is_kept_and_this_runs_maps_stay(tmp_path, caplog):
    extractor = Counting()
    many = [view(f"v{number}", size=(64, 64)) for number in range(6)]  # 1536 bytes of features each
    with caplog.at_level(logging.WARNING):
        maps = extract_features(many, extractor, cache_dir=tmp_path, max_bytes=6000)
    kept = files(tmp_path)
    assert 2 <= len(kept) < 6
    assert sum(path.stat().st_size for path in kept) <= 6000
    assert caplog.text.count("is full: this run alone needs more") == 1
    for one in many:
        torch.testing.assert_close(maps[one.name].features, expected(one), atol=1e-3, rtol=0)
    assert extractor.seen == 6  # what the disk could not keep is held in memory
    extract_features(many, extractor, cache_dir=tmp_path, max_bytes=6000)
    assert extractor.seen == 12 - len(kept)
    extract_features([view("other", size=(64, 64))], extractor, cache_dir=tmp_path, max_bytes=6000)
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 6000
    assert len(files(tmp_path)) == len(kept)  # an old one made room


def test_beyond_memory_maps_are_computed_when_looked_at(tmp_path):
    extractor = Counting()
    held = 100  # bytes: one map of 72
    maps = extract_features(VIEWS, extractor, cache_dir=tmp_path, max_bytes=0, memory_bytes=held)
    assert extractor.seen == 3
    assert [maps[name].size for name in ("a", "a", "b", "b")] == [(16, 12)] * 4
    assert extractor.seen == 5
    torch.testing.assert_close(maps["c"].features, expected(VIEWS[2]), atol=1e-3, rtol=0)


def test_folder_that_cannot_be_written(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    extractor = Counting()
    with caplog.at_level(logging.WARNING):
        maps = extract_features(VIEWS, extractor, cache_dir=blocked)
    assert [record.message for record in caplog.records if "going on without" in record.message] == [
        f"cannot use feature cache {blocked / 'features'}: Not a directory; going on without a cache"
    ]
    torch.testing.assert_close(maps["c"].features, expected(VIEWS[2]), atol=1e-3, rtol=0)
    assert extractor.seen == 3


def test_disk_that_refuses_later(tmp_path, caplog, monkeypatch):
    def full(*given, **rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("featurefields.vision.store.save_file", full)
    extractor = Counting()
    with caplog.at_level(logging.WARNING):
        maps = extract_features(VIEWS, extractor, cache_dir=tmp_path)
    assert caplog.text.count("No space left on device") == 1
    assert maps["b"].size == (16, 12)
    assert extractor.seen == 3
    assert list((tmp_path / "features").iterdir()) == []


def test_leftovers_of_dead_processes_are_swept(tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    old, young = folder / ".dead-1.safetensors", folder / ".alive-2.safetensors"
    for path in (old, young):
        path.write_bytes(b"half a map")
    os.utime(old, (1, 1))
    extract_features(VIEWS, Counting(), cache_dir=tmp_path)
    assert not old.exists()
    assert young.exists()


def test_values_that_half_precision_cannot_hold(tmp_path):
    maps = extract_features(VIEWS[:1], Counting(scale=1e7), cache_dir=tmp_path)
    assert maps["a"].features.isfinite().all()
    with pytest.raises(UnavailableError, match="not finite for view 'a'"):
        extract_features(VIEWS[:1], Counting(scale=float("nan"), fingerprint="nan"), cache_dir=tmp_path)


def test_unknown_view(tmp_path):
    maps = extract_features(VIEWS, Counting(), cache_dir=tmp_path)
    assert "z" not in maps
    with pytest.raises(UnknownNameError, match="no feature map of view 'z'; there are maps of a, b, c"):
        maps["z"]


def test_default_folder():
    assert default_cache_dir({"FF_CACHE": "/x/y", "XDG_CACHE_HOME": "/z"}) == Path("/x/y")
    assert default_cache_dir({"XDG_CACHE_HOME": "/z"}) == Path("/z/featurefields")
    assert default_cache_dir({}) == Path.home() / ".cache" / "featurefields"


def test_maps_are_stored_as_they_are(tmp_path):
    maps = extract_features(VIEWS[:1], Counting(), cache_dir=tmp_path)
    assert isinstance(maps["a"], FeatureMap)
    assert maps["a"].features.dtype == torch.float16
    assert files(tmp_path)[0].stat().st_size < maps["a"].features.nbytes + 1024
