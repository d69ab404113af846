"""Image files: pixels in, pixels out.

Pixels are taken as they are stored: an EXIF orientation tag is *not* applied, because camera poses refer to
the stored pixels. Reading raises `SceneError` with one line naming the file.

Letters: h w pixels · c channels of the file.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from featurefields.atomic import atomic_path
from featurefields.errors import SceneError, WriteError

Colour = tuple[float, float, float]
Pixels = NDArray[Any]  # uint8, uint16, or float32 where a file holds floats
WHITE: Colour = (1.0, 1.0, 1.0)

_DECODING = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_LOSSY = {".jpg", ".jpeg", ".webp"}


def read_size(path: str | Path) -> tuple[int, int]:
    """(width, height) from the file's header; no pixel is decoded. Raises `SceneError`."""
    try:
        with Image.open(path) as opened:
            return opened.size
    except _DECODING as error:
        raise _unreadable(path, error) from error


def read_image(path: str | Path, *, background: Colour = WHITE) -> Float[Tensor, "h w 3"]:
    """sRGB colours in 0..1 of an 8- or 16-bit file; grey is repeated, alpha composited on `background`.

    Raises:
        SceneError: the file is missing, truncated or no image.
    """
    return composited(read_channels(path), background)


def composited(channels: Float[Tensor, "h w c"], background: Colour = WHITE) -> Float[Tensor, "h w 3"]:
    """Three colours from 1 (grey), 2 (grey, alpha), 3 or 4 (colour, alpha) channels.

    Alpha is straight and compositing happens on the encoded (sRGB) values, as the data sets' authors do it.
    """
    count = channels.shape[-1]
    colours = channels[..., :3] if count >= 3 else channels[..., :1].expand(*channels.shape[:-1], 3)
    if count in (1, 3):
        return colours
    alpha = channels[..., -1:]
    return colours * alpha + torch.tensor(background).to(colours) * (1 - alpha)


def read_channels(path: str | Path) -> Float[Tensor, "h w c"]:
    """The file's own channels in 0..1: grey 1, grey + alpha 2, colour 3, colour + alpha 4.

    Raises:
        SceneError: the file is missing, truncated or no image.
    """
    stored = _stored(path, palette=False)
    if stored.dtype.kind == "f":
        values = stored.astype(np.float32)
    else:
        values = stored.astype(np.float32) / (255 if stored.dtype == np.uint8 else 65535)
    return torch.from_numpy(np.nan_to_num(values, posinf=1.0, neginf=0.0))


def read_mask(path: str | Path) -> Bool[Tensor, "h w"]:
    """True where any channel is not zero (above half for files of a lossy format). Raises `SceneError`."""
    stored = _stored(path, palette=True)
    threshold = 127 if Path(path).suffix.lower() in _LOSSY else 0
    return torch.from_numpy((stored > threshold).any(-1))


def read_ids(path: str | Path) -> Int[Tensor, "h w"]:
    """Whole numbers of a label picture: grey or palette index as stored, colours as r + 256 g + 65536 b.

    Raises:
        SceneError: the file is unreadable, or holds fractions.
    """
    stored = _stored(path, palette=True)
    if stored.dtype.kind == "f":
        raise SceneError(
            f"{path} holds fractions, not whole-numbered ids; save the ids as an 8- or 16-bit PNG"
        )
    wide = stored.astype(np.int64)
    ids = wide[..., 0] if wide.shape[-1] < 3 else wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
    return torch.from_numpy(ids)


def read_depth(path: str | Path, *, unit: float = 1e-3) -> Float[Tensor, "h w"]:
    """Depth = stored value x `unit`, 0 where nothing (or nothing finite and positive) is stored.

    Reads single-channel 8-, 16- and 32-bit pictures, float TIFF, and .npy arrays (h w) or (h w 1).

    Raises:
        SceneError: the file is unreadable or has several channels.
    """
    stored = _array(path) if Path(path).suffix.lower() == ".npy" else _stored(path, palette=True)
    if stored.ndim == 2:
        stored = stored[..., None]
    if stored.ndim != 3 or stored.shape[-1] != 1:
        raise SceneError(
            f"{path} has shape {stored.shape}, but a depth map has one channel; save it as 16-bit grey"
        )
    depth = stored[..., 0].astype(np.float64) * unit
    known = np.isfinite(depth) & (depth > 0)
    return torch.from_numpy(np.where(known, depth, 0.0).astype(np.float32))


def write_png(path: str | Path, image: Tensor, *, overwrite: bool = False) -> Path:
    """Write a PNG atomically and return its path.

    Args:
        path: where to.
        image: (h w) or (h w c) with c 1, 3 or 4. Floats are clamped to 0..1 (NaN becomes 0) and stored with
            8 bits; booleans become 0 and 255; whole numbers are stored as they are, with 16 bits (one
            channel only) when one exceeds 255.
        overwrite: replace what is there.

    Raises:
        WriteError: the file exists, the disk refused, or the picture does not fit a PNG.
    """
    encoded = _encoded(image.detach().cpu())
    with atomic_path(path, overwrite=overwrite) as temporary:
        Image.fromarray(encoded).save(temporary, format="PNG")
    return Path(path)


def _encoded(image: Tensor) -> Pixels:
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (3, 4))) or 0 in image.shape:
        raise WriteError(f"a PNG holds (h w), (h w 1), (h w 3) or (h w 4) pixels, not {tuple(image.shape)}")
    if image.dtype == torch.bool:
        return image.numpy().astype(np.uint8) * 255
    if image.is_floating_point():
        return (torch.nan_to_num(image, nan=0.0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    values = image.numpy()
    if values.min() < 0 or values.max() > (65535 if values.ndim == 2 else 255):
        raise WriteError(
            f"whole numbers {values.min()}..{values.max()} do not fit a PNG of shape {values.shape}"
        )
    return values.astype(np.uint8 if values.max() <= 255 else np.uint16)


def _stored(path: str | Path, *, palette: bool) -> Pixels:
    """Pixels (h w c) as stored, uint8, uint16 or float32; `palette` keeps palette indices."""
    try:
        with Image.open(path) as opened:
            opened.load()
            raw_mode = _raw_mode(path)
            if raw_mode.endswith(("RGB;16B", "RGBA;16B", "LA;16B")):
                return _sixteen_bits(path)
            return _plain(opened, palette)
    except _DECODING as error:
        raise _unreadable(path, error) from error


def _raw_mode(path: str | Path) -> str:
    """How the decoder stores pixels; Pillow cuts 16-bit colours to 8 without saying so."""
    with Image.open(path) as header:
        if not header.tile:
            return ""
        arguments = header.tile[0][3]
        return arguments if isinstance(arguments, str) else str(arguments[0]) if arguments else ""


def _plain(opened: Image.Image, palette: bool) -> Pixels:
    mode = opened.mode
    if mode == "P" and not palette:
        opened = opened.convert("RGBA" if "transparency" in opened.info else "RGB")
    elif mode == "PA":
        opened = opened.convert("RGBA")
    elif mode == "1":
        opened = opened.convert("L")
    elif mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX", "RGBa"):
        opened = opened.convert("RGBA" if mode == "RGBa" else "RGB")
    elif mode == "La":
        opened = opened.convert("LA")
    pixels = np.array(opened)
    if pixels.dtype.kind in "iu" and pixels.dtype != np.uint8:
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(f"values {pixels.min()}..{pixels.max()} exceed 16 bits")
        pixels = pixels.astype(np.uint16)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _sixteen_bits(path: str | Path) -> Pixels:
    import cv2

    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise OSError("16-bit colours cannot be decoded")
    if pixels.ndim == 2:
        return pixels[..., None]
    order = [2, 1, 0, 3][: pixels.shape[-1]]
    return np.ascontiguousarray(pixels[..., order])


def _array(path: str | Path) -> Pixels:
    try:
        stored = np.load(path, allow_pickle=False)
    except _DECODING as error:
        raise _unreadable(path, error) from error
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "iuf":
        raise SceneError(f"{path} is not an array of numbers; save one depth map with numpy.save")
    return stored


def _unreadable(path: str | Path, error: Exception) -> SceneError:
    if not Path(path).exists():
        return SceneError(f"image {path} does not exist; restore it or remove it from the scene")
    reason = " ".join(str(error).split()) or type(error).__name__
    return SceneError(f"image {path} cannot be read ({reason}); replace the file or remove it from the scene")
