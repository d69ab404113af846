"""The work: fitted scenes where they are, else a made-up one of the same statistics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from featurefields.camera import Camera
from featurefields.raster import RasterConfig
from featurefields.raster.cpu.contributions import Contributions
from featurefields.raster.cpu.frame import Geometry, prepare
from featurefields.splats import Splats

CONFIG = RasterConfig()


@dataclass(frozen=True)
class Work:
    """A scene and a camera, with what drawing it amounts to."""

    name: str
    splats: Splats
    camera: Camera
    contributions: int
    visible: int

    def channels(self, count: int, seed: int = 0) -> Tensor:
        """Random channels (n c)."""
        return torch.randn(len(self.splats), count, generator=torch.Generator().manual_seed(seed))

    def maps(self, count: int, seed: int = 1) -> Tensor:
        """Random maps (h w c)."""
        shape = (self.camera.height, self.camera.width, count)
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def measured(name: str, splats: Splats, camera: Camera) -> Work:
    """Count contributions (a Gaussian's weight at a pixel) and visible Gaussians."""
    tensors = (splats.means, splats.quats, splats.scales, splats.opacities)
    frame = prepare(Geometry(*(np.ascontiguousarray(t.numpy()) for t in tensors)), camera, CONFIG)
    contributions = Contributions(frame, 0)
    count = sum(
        int((chunk.weights[: chunk.lists[-1]] > 0).sum())
        for part in range(frame.threads)
        for chunk in contributions.chunks(part)
    )
    return Work(name, splats, camera, count, len(frame.order))


def from_file(path: Path, view: int, size: int) -> Work:
    """A packed workload: means, quats (wxyz), scales, op (linear), views (world to camera), K."""
    with np.load(path) as packed:
        table = {
            key: torch.from_numpy(packed[key].astype(np.float32))
            for key in ("means", "quats", "scales", "op")
        }
        pose = torch.from_numpy(np.linalg.inv(packed["views"][view].astype(np.float64))).float()
        k = torch.from_numpy(packed["K"].astype(np.float32))
    logits = torch.logit(table["op"].clamp(1e-6, 1 - 1e-6))
    splats = Splats(table["means"], table["quats"], table["scales"].log(), logits)
    camera = Camera(pose, torch.stack([k[0, 0], k[1, 1]]), k[:2, 2].clone(), (size, size))
    return measured(f"{path.stem}, view {view}", splats, camera)


def made_up(n: int, size: int, seed: int = 0) -> Work:
    """n Gaussians seen all at once by a camera of size x size; about 45 contributions a pixel, like a fitted photo.

    Their size follows their number, so that the contributions per pixel stay the same until they are smaller than a
    pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    depth = 2 + 2 * torch.rand(n, generator=generator)
    places = (torch.rand(n, 2, generator=generator) - 0.5) * depth[:, None] * 1.1
    spread = 3.6 / n**0.5 * torch.exp(0.6 * torch.randn(n, 3, generator=generator) - 0.2)
    quats = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=-1)
    logits = torch.randn(n, generator=generator) * 1.5 - 1.5
    splats = Splats(torch.cat([places, depth[:, None]], 1), quats, spread.log(), logits)
    focal = torch.tensor([float(size), float(size)])
    camera = Camera(torch.eye(4), focal, focal / 2, (size, size))
    return measured(f"made up, {n} Gaussians", splats, camera)


def small_work(folder: Path | None) -> Work:
    """50k Gaussians at 256 x 256."""
    path = folder / "fox50k_256.npz" if folder else None
    return from_file(path, 14, 256) if path and path.exists() else made_up(50_000, 256)


def large_work(folder: Path | None) -> Work:
    """200k Gaussians at 512 x 512."""
    path = folder / "fox200k_512.npz" if folder else None
    return from_file(path, 14, 512) if path and path.exists() else made_up(200_000, 512)
