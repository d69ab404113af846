"""Random scenes of every awkward kind, and comparisons that several test files share.

Letters: n Gaussians · c drawn channels · h w pixels.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from featurefields.camera import Camera
from featurefields.maths.rotations import matrix_from_quat
from featurefields.maths.similarity import Similarity
from featurefields.raster import RasterConfig
from featurefields.splats import Splats

CONFIG = RasterConfig()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(low: float, high: float, *shape: int, generator: torch.Generator) -> Tensor:
    """float64 numbers in low..high that float32 holds exactly, so that every dtype sees the same scene."""
    return (low + (high - low) * torch.rand(*shape, generator=generator)).double()


def random_quats(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, 4, generator=generator).double()


def random_rotation(generator: torch.Generator) -> Tensor:
    """A rotation matrix (3 3), float64."""
    return matrix_from_quat(random_quats(1, generator))[0]


def random_similarity(generator: torch.Generator, scale: float | None = None) -> Similarity:
    size = scale if scale is not None else float(uniform(0.3, 3.0, 1, generator=generator))
    return Similarity(size, random_rotation(generator), uniform(-2, 2, 3, generator=generator))


def unit_vectors(n: int, generator: torch.Generator) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64), dim=-1)


def rigid(rotation: Tensor, position: Tensor) -> Tensor:
    """The pose (4 4) with these axes and this centre."""
    pose = torch.eye(4, dtype=rotation.dtype)
    pose[:3, :3], pose[:3, 3] = rotation, position
    return pose


def random_camera(size: tuple[int, int], generator: torch.Generator, *, turned: bool = True) -> Camera:
    """A camera with oblong pixels and its principal point off the middle; the world's own frame if not turned."""
    rotation = random_rotation(generator) if turned else torch.eye(3, dtype=torch.float64)
    position = uniform(-1, 1, 3, generator=generator) if turned else torch.zeros(3, dtype=torch.float64)
    longest = float(max(size))
    focal = torch.tensor([0.9 * longest, 1.2 * longest], dtype=torch.float64)
    centre = torch.tensor([0.4 * size[0], 0.55 * size[1]], dtype=torch.float64)
    return Camera(rigid(rotation, position), focal, centre, size)


def as_seen(local: Tensor, camera: Camera) -> Tensor:
    """World points of points in the camera's frame."""
    return local @ camera.world_from_camera[:3, :3].T + camera.position


KINDS: dict[str, Callable[[dict[str, Tensor], torch.Generator], None]] = {}
"""Name → what makes a plain scene (local means, log_scales, opacity_logits) an awkward one, in place."""


def kind(change: Callable[[dict[str, Tensor], torch.Generator], None]) -> None:
    KINDS[change.__name__] = change


@kind
def plain(table: dict[str, Tensor], generator: torch.Generator) -> None:
    """Gaussians of all sizes in the picture."""


@kind
def off_screen(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["means"][:, :2] *= 4.0
    table["log_scales"] += 0.7


@kind
def behind(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["means"][::2, 2] *= -1.0


@kind
def near_plane(table: dict[str, Tensor], generator: torch.Generator) -> None:
    """Depths of 0.1 to 40 times the near plane's."""
    count = len(table["means"])
    near = 10 ** uniform(-1.0, 1.6, count, generator=generator) * CONFIG.near
    table["means"] *= (near / table["means"][:, 2])[:, None]
    table["log_scales"] += torch.log(near)[:, None] - 1.0


@kind
def needles(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["log_scales"][:, 0] = -1.0
    table["log_scales"][:, 1:] = -12.0


@kind
def long_needles(table: dict[str, Tensor], generator: torch.Generator) -> None:
    """Reaching far out of the picture, up to a thousand times longer than thick."""
    table["log_scales"][:, 0] = uniform(0.0, 3.0, len(table["means"]), generator=generator)
    table["log_scales"][:, 1:] = -4.0


@kind
def pancakes(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["log_scales"][:, 2] = -12.0


@kind
def huge(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["log_scales"] += 4.0
    table["opacity_logits"] -= 2.0


@kind
def tiny(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["log_scales"] -= 12.0


@kind
def opaque(table: dict[str, Tensor], generator: torch.Generator) -> None:
    """Opacities on both sides of the upper bound of a pixel's."""
    table["opacity_logits"] = uniform(5.0, 12.0, len(table["means"]), generator=generator)


@kind
def faint(table: dict[str, Tensor], generator: torch.Generator) -> None:
    """Opacities on both sides of the smallest that is drawn, 0 among them."""
    table["opacity_logits"] = uniform(-6.5, -4.0, len(table["means"]), generator=generator)
    table["opacity_logits"][::5] = -200.0


@kind
def invisible(table: dict[str, Tensor], generator: torch.Generator) -> None:
    table["means"][:, 2] *= -1.0


@kind
def crowded(table: dict[str, Tensor], generator: torch.Generator) -> None:
    """More Gaussians on every pixel than a block lists at once."""
    table["means"][:, :2] *= 0.3
    table["opacity_logits"] -= 3.0


def random_scene(
    name: str, n: int, size: tuple[int, int], seed: int, *, channels: int = 3, turned: bool = True
) -> tuple[Splats, Tensor, Camera]:
    """Splats, channels (n c) and camera of the kind `name`, in float64 with values of float32."""
    generator = seeded(seed)
    camera = random_camera(size, generator, turned=turned)
    depth = uniform(1.5, 4.0, n, generator=generator)
    pixels = torch.rand(n, 2, generator=generator).double() * torch.tensor(size).double()
    local = torch.cat([(pixels - camera.centre_px) / camera.focal_px, torch.ones(n, 1).double()], dim=-1)
    table = {
        "means": local * depth[:, None],
        "quats": random_quats(n, generator),
        "log_scales": uniform(-4.5, -1.0, n, 3, generator=generator),
        "opacity_logits": torch.randn(n, generator=generator).double() * 2,
    }
    KINDS[name](table, generator)
    table["means"] = as_seen(table["means"], camera)
    values = torch.randn(n, channels, generator=generator).double()
    splats, camera = Splats.from_tensors(table).to(torch.float32), camera.to(torch.float32)
    return splats.to(torch.float64), values, camera.to(torch.float64)


def moved_camera(camera: Camera, similarity: Similarity) -> Camera:
    return replace(camera, world_from_camera=similarity.pose(camera.world_from_camera))


def outliers(found: Tensor, wanted: Tensor, tolerance: float) -> float:
    """Fraction of the values that are off by more than `tolerance` times (1 + |wanted|); NaN is always off."""
    if wanted.numel() == 0:
        return 0.0
    gap = (found.detach().double().cpu() - wanted.detach().double().cpu()).abs()
    return float((~(gap <= tolerance * (1 + wanted.detach().double().cpu().abs()))).double().mean())


def assert_mostly_close(
    found: Tensor, wanted: Tensor, *, tolerance: float, fraction: float = 1e-3, at_most: float = 1e-2
) -> None:
    """All but `fraction` of the values within `tolerance`, and those within `at_most`.

    The tests of drawing (opacity at least 1/255, light left above 1e-4) may fall out differently at single
    pixels when numbers are rounded differently.
    """
    assert found.shape == wanted.shape
    off = outliers(found, wanted, tolerance)
    assert off <= fraction, f"{off:.2%} of the values are off by more than {tolerance:g}"
    assert outliers(found, wanted, at_most) == 0.0, f"a value is off by more than {at_most:g}"


def gradients(
    draw: Callable[[Splats, Tensor], tuple[Tensor, Tensor]],
    splats: Splats,
    channels: Tensor,
    by_image: Tensor,
    by_alpha: Tensor,
) -> dict[str, Tensor]:
    """Gradients of <image, by_image> + <alpha, by_alpha> by every tensor of the scene."""
    splats = splats.each(lambda tensor: tensor.detach().clone().requires_grad_())
    channels = channels.detach().clone().requires_grad_()
    image, alpha = draw(splats, channels)
    loss = (image * by_image.to(image)).sum() + (alpha * by_alpha.to(alpha)).sum()
    leaves = splats.tensors() | {"channels": channels}
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }
