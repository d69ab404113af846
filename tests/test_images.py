"""Image files keep their values; broken ones are one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.autograd import gradcheck

from featurefields.errors import SceneError, WriteError
from featurefields.images import (
    read_channels,
    read_depth,
    read_ids,
    read_image,
    read_mask,
    read_size,
    write_png,
)
from featurefields.maths.colour import linear_from_srgb, srgb_from_linear


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_eight_bit_colours_are_divided_by_255(tmp_path: Path, colours: np.ndarray) -> None:
    read = read_image(save(tmp_path / "a.png", colours))
    assert read.dtype == torch.float32 and read.shape == (5, 7, 3)
    assert torch.equal(read, torch.from_numpy(colours).float() / 255)
    assert read_size(tmp_path / "a.png") == (7, 5)


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colours_keep_all_bits_and_their_order(tmp_path: Path, channels: int) -> None:
    import cv2

    deep = np.random.default_rng(4).integers(0, 65536, (4, 6, channels)).astype(np.uint16)
    order = [2, 1, 0, 3][:channels]
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., order])
    read = read_channels(tmp_path / "deep.png")
    assert torch.equal(read, torch.from_numpy(deep.astype(np.float32) / 65535))


def test_grey_is_repeated_and_sixteen_bit_grey_scaled(tmp_path: Path, colours: np.ndarray) -> None:
    grey = colours[..., 0]
    read = read_image(save(tmp_path / "g.png", grey))
    assert torch.equal(read, (torch.from_numpy(grey).float() / 255)[..., None].expand(-1, -1, 3))
    deep = read_image(save(tmp_path / "g16.png", grey.astype(np.uint16) * 257))
    assert torch.allclose(deep, read, atol=1e-7)


def test_alpha_is_composited_on_the_background(tmp_path: Path, colours: np.ndarray) -> None:
    alpha = np.linspace(0, 255, 35).reshape(5, 7, 1).astype(np.uint8)
    path = save(tmp_path / "a.png", np.concatenate([colours, alpha], -1))
    colour, cover = torch.from_numpy(colours).float() / 255, torch.from_numpy(alpha).float() / 255
    assert torch.allclose(read_image(path), colour * cover + (1 - cover))
    blue = read_image(path, background=(0.0, 0.0, 1.0))
    assert torch.allclose(blue, colour * cover + (1 - cover) * torch.tensor([0.0, 0.0, 1.0]))
    assert torch.equal(read_channels(path)[..., 3:], cover)


def test_palette_is_colour_for_images_and_index_for_ids(tmp_path: Path) -> None:
    indices = np.array([[0, 1], [2, 1]], dtype=np.uint8)
    image = Image.new("P", (2, 2))
    image.putdata(indices.ravel().tolist())
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "p.png")
    assert torch.equal(read_ids(tmp_path / "p.png"), torch.from_numpy(indices).long())
    assert read_image(tmp_path / "p.png")[1, 0].tolist() == [0.0, 0.0, 1.0]


def test_exif_orientation_is_not_applied(tmp_path: Path, colours: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (5, 7, 3)
    assert read_size(tmp_path / "turned.jpg") == (7, 5)


def test_ids_of_colours_and_of_sixteen_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "rgb.png", np.array([[[1, 2, 3]]], dtype=np.uint8))
    assert read_ids(path).item() == 1 + 256 * 2 + 65536 * 3
    assert read_ids(save(tmp_path / "deep.png", np.array([[40000]], dtype=np.uint16))).item() == 40000
    Image.fromarray(np.array([[0.5]], dtype=np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(SceneError, match="whole-numbered ids"):
        read_ids(tmp_path / "f.tiff")


def test_masks_are_not_zero_but_lossy_ones_above_half(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path / "m.png", np.array([[0, 1], [255, 0]], dtype=np.uint8))).tolist() == [
        [False, True],
        [True, False],
    ]
    rough = np.zeros((16, 16), dtype=np.uint8)
    rough[:, 8:] = 255
    rough[:, :8] = 6
    assert torch.equal(read_mask(save(tmp_path / "m.jpg", rough)), torch.from_numpy(rough > 127))


def test_depth_scales_and_drops_what_is_no_distance(tmp_path: Path) -> None:
    stored = np.array([[0, 1000], [2500, 65535]], dtype=np.uint16)
    assert torch.allclose(
        read_depth(save(tmp_path / "d.png", stored)), torch.tensor([[0.0, 1.0], [2.5, 65.535]])
    )
    assert read_depth(tmp_path / "d.png", unit=2.0)[1, 0] == 5000.0
    np.save(tmp_path / "d.npy", np.array([[np.nan, -1.0, np.inf, 3.0]]))
    assert read_depth(tmp_path / "d.npy", unit=0.5).tolist() == [[0.0, 0.0, 0.0, 1.5]]
    with pytest.raises(SceneError, match="one channel"):
        read_depth(save(tmp_path / "rgb.png", np.zeros((2, 2, 3), dtype=np.uint8)))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(SceneError, match=r"objects\.npy cannot be read"):
        read_depth(tmp_path / "objects.npy")


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("read", [read_image, read_channels, read_mask, read_ids, read_depth])
def test_truncated_files_are_one_line_naming_the_file(tmp_path: Path, ending: str, read) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"cut.{ending}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SceneError, match="cannot be read") as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    for read in (read_image, read_size):
        with pytest.raises(SceneError, match=r"x\.png cannot be read") as caught:
            read(tmp_path / "x.png")
        assert "\n" not in str(caught.value)
    with pytest.raises(SceneError, match="does not exist"):
        read_image(tmp_path / "none.png")


def test_written_pixels_come_back(tmp_path: Path, generator: torch.Generator) -> None:
    image = torch.rand(6, 5, 3, generator=generator)
    write_png(tmp_path / "i.png", image)
    assert (read_image(tmp_path / "i.png") - image).abs().max() <= 0.5 / 255 + 1e-6
    ids = torch.tensor([[0, 300], [65535, 7]])
    assert torch.equal(read_ids(write_png(tmp_path / "ids.png", ids)), ids)
    mask = ids > 100
    assert torch.equal(read_mask(write_png(tmp_path / "mask.png", mask)), mask)
    wild = torch.tensor([[float("nan"), -3.0, 2.0]])
    assert read_image(write_png(tmp_path / "wild.png", wild))[0, :, 0].tolist() == [0.0, 0.0, 1.0]


def test_writing_never_replaces_unasked_and_refuses_odd_shapes(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", torch.zeros(2, 2))
    before = path.read_bytes()
    with pytest.raises(WriteError, match="exists already"):
        write_png(path, torch.ones(2, 2))
    assert path.read_bytes() == before
    write_png(path, torch.ones(2, 2), overwrite=True)
    assert read_image(path).min() == 1.0
    for odd in (
        torch.zeros(2, 2, 2),
        torch.zeros(0, 3),
        torch.zeros(3),
        torch.tensor([[70000]]),
        torch.tensor([[-1]]),
    ):
        with pytest.raises(WriteError, match="PNG"):
            write_png(tmp_path / "odd.png", odd)
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@given(st.floats(-0.5, 4.0))
def test_srgb_and_linear_are_inverse(value: float) -> None:
    linear = torch.tensor(value, dtype=torch.float64)
    assert torch.allclose(linear_from_srgb(srgb_from_linear(linear)), linear, atol=1e-6)
    assert torch.allclose(srgb_from_linear(linear_from_srgb(linear)), linear, atol=1e-6)


def test_srgb_known_values_and_gradients() -> None:
    known = torch.tensor([0.0, 0.0031308, 0.18, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.040449936, 0.461356, 0.735357, 1.0], dtype=torch.float64)
    assert torch.allclose(srgb_from_linear(known), expected, atol=1e-6)
    points = torch.tensor([-0.1, 0.0, 0.01, 0.5, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    assert gradcheck(srgb_from_linear, points) and gradcheck(linear_from_srgb, points)
    for function in (srgb_from_linear, linear_from_srgb):
        zero = torch.zeros(1, requires_grad=True)
        function(zero).sum().backward()
        assert zero.grad is not None and 0 < zero.grad.item() < 20
