"""Dense classical descriptors: the default that needs no weights and no network.

Letters: b batch · h w pixels · hp wp patches · k histogram bins · s scales.

Three groups per patch, each of at most unit length before its weight, so that the cosine of two features is
close to the weighted mean of three similarities:

- colour: histograms of CIE Lab colours (D65) over Gaussian windows, every pixel shared softly between fixed
  anchor colours; square roots are stored, so that the dot product of two histograms is their Bhattacharyya
  coefficient. Lightness counts less than hue and chroma, which keeps shading from splitting a surface.
- orientation: histograms of gradient directions (unsigned, softly binned, weighted by magnitude) over the
  same windows, normalised together over the scales as HOG does within a block (Dalal and Triggs 2005).
- structure: how strong edges and local contrast are at each scale, as a share of a fixed reference.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, normalize, pad

from featurefields.vision.interface import fit_to_stride

_STRIDE = 4
_SIGMAS_PX = (2.5, 6.0, 14.0)
_ORIENTATIONS = 8
_WEIGHTS = {"colour": 0.85, "orientation": 0.10, "structure": 0.05}
"""Shares of the groups in the cosine; they sum to one."""
_LIGHTNESS = 0.4
"""Length of the lightness axis relative to the two colour axes."""
_ANCHOR_WIDTH = 10.0
"""Standard deviation of an anchor's share, in Lab units (lightness already shortened)."""

_STRIP = 256
"""Rows of pixels whose colour shares are in memory at once."""


class ClassicalExtractor:
    """Colour, orientation and contrast statistics at three scales; see the module's description."""

    fingerprint = "classical:1"
    stride = _STRIDE

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._anchors = _anchor_colours()
        self.dim = len(_SIGMAS_PX) * (len(self._anchors) + _ORIENTATIONS + 2)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d hp wp"]:
        """Features of at most unit length (less where there are no edges), on the device of the images."""
        fitted = fit_to_stride(images.to(self._device, torch.float32), _STRIDE)
        lab = lab_from_srgb(fitted)
        groups = {
            "colour": self._colour(lab),
            "orientation": _orientation(lab[:, :1]),
            "structure": _structure(lab[:, :1]),
        }
        weighted = [math.sqrt(_WEIGHTS[name]) * group for name, group in groups.items()]
        return torch.cat(weighted, dim=1).to(images.device)

    def _colour(self, lab: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k hp wp"]:
        """Square roots of soft colour histograms, of unit length over all scales together."""
        axes = torch.tensor([_LIGHTNESS, 1.0, 1.0]).to(lab)
        anchors = self._anchors.to(lab) * axes
        across = [_window_matrix(lab.shape[-1], sigma).to(lab).T for sigma in _SIGMAS_PX]
        strips = []
        for strip in (lab * axes[:, None, None]).movedim(1, -1).split(_STRIP, dim=1):
            distance = torch.cdist(strip.flatten(0, 2), anchors).view(*strip.shape[:3], -1)
            share = torch.softmax(-0.5 * (distance / _ANCHOR_WIDTH).square(), dim=-1).movedim(-1, 1)
            strips.append([share @ matrix for matrix in across])
        histograms = [
            _window_matrix(lab.shape[-2], sigma).to(lab) @ torch.cat(rows, dim=2)
            for sigma, rows in zip(_SIGMAS_PX, zip(*strips, strict=True), strict=True)
        ]
        return (torch.cat(histograms, dim=1).clamp(min=0) / len(_SIGMAS_PX)).sqrt()


def lab_from_srgb(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """CIE Lab (D65, 2 degrees; L in 0..100) of sRGB colours in 0..1 (IEC 61966-2-1, CIE 15)."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    xyz_from_rgb = torch.tensor(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    ).to(images)
    ratio = torch.einsum("xc,bchw->bxhw", xyz_from_rgb / xyz_from_rgb.sum(1, keepdim=True), linear)
    knee = 6 / 29
    curve = torch.where(ratio > knee**3, ratio.clamp(min=1e-9) ** (1 / 3), ratio / (3 * knee**2) + 4 / 29)
    x, y, z = curve.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def window(values: Float[Tensor, "b k h w"], sigma: float) -> Float[Tensor, "b k hp wp"]:
    """Gaussian means around the patch centres; the window is cut and renormalised at the border."""
    height, width = values.shape[-2:]
    down, across = _window_matrix(height, sigma).to(values), _window_matrix(width, sigma).to(values)
    return down @ values @ across.T


def _window_matrix(extent: int, sigma: float) -> Float[Tensor, "patches extent"]:
    centre = (torch.arange(extent // _STRIDE) + 0.5) * _STRIDE
    distance = torch.arange(extent) + 0.5 - centre[:, None]
    return normalize(torch.exp(-0.5 * (distance / sigma).square()), p=1, dim=1)


def _gradients(lightness: Float[Tensor, "b 1 h w"]) -> tuple[Tensor, Tensor]:
    """Smoothed derivatives (x, y) of lightness, per pixel."""
    smooth, slope = torch.tensor([3.0, 10.0, 3.0]) / 16, torch.tensor([-1.0, 0.0, 1.0]) / 2
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None].to(lightness)
    padded = pad(lightness, (1, 1, 1, 1), mode="replicate")
    x, y = conv2d(padded, kernels).split(1, dim=1)
    return x, y


def _orientation(lightness: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b k hp wp"]:
    """Histograms of unsigned gradient directions; unit length over all scales, short without edges."""
    x, y = _gradients(lightness)
    magnitude = torch.sqrt(x.square() + y.square() + 1e-12)
    turn = torch.remainder(torch.atan2(y, x) / math.pi, 1.0) * _ORIENTATIONS
    low = turn.floor()
    bins = torch.arange(_ORIENTATIONS).to(turn)[:, None, None]
    share = ((low % _ORIENTATIONS) == bins) * (1 - (turn - low))
    share = share + (((low + 1) % _ORIENTATIONS) == bins) * (turn - low)
    histograms = [window(share * magnitude, sigma) for sigma in _SIGMAS_PX]
    return _block_normalised(torch.cat(histograms, dim=1), floor=2.0)


def _structure(lightness: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b k hp wp"]:
    """Edge strength and local contrast at each scale, compressed by square roots."""
    x, y = _gradients(lightness)
    energy = torch.sqrt(x.square() + y.square())
    parts = []
    for sigma in _SIGMAS_PX:
        mean = window(lightness, sigma)
        contrast = (window(lightness.square(), sigma) - mean.square()).clamp(min=0).sqrt()
        parts += [window(energy, sigma), contrast]
    return _block_normalised(torch.cat(parts, dim=1).sqrt(), floor=2.0)


def _block_normalised(group: Float[Tensor, "b k hp wp"], floor: float) -> Float[Tensor, "b k hp wp"]:
    """Divided by the length over the block, of which `floor` is a part so that noise is not blown up."""
    return group / torch.sqrt(group.square().sum(1, keepdim=True) + floor**2)


def _anchor_colours() -> Float[Tensor, "k 3"]:
    """Fixed Lab colours: greys, and rings of hues at a low and a high chroma."""
    greys = [(lightness, 0.0, 0.0) for lightness in (5.0, 25.0, 45.0, 65.0, 85.0)]
    ring = []
    for lightness, chroma, count, turn in ((50.0, 28.0, 6, 0.0), (55.0, 60.0, 8, 0.5)):
        for index in range(count):
            hue = 2 * math.pi * (index + turn) / count
            ring.append((lightness, chroma * math.cos(hue), chroma * math.sin(hue)))
    return torch.tensor([*greys, *ring])
