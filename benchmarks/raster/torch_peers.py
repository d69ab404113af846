"""The same picture in plain torch: many tiles at a time, and gsplat's own reference implementation.

Letters: n Gaussians · b tiles · m Gaussians of a tile · p pixels of a tile · c channels.
"""

import sys
from types import ModuleType

import torch
from torch import Tensor

from featurefields.camera import Camera
from featurefields.raster import Raster, RasterConfig
from featurefields.raster.reference import TILE, Projected, project, tiles
from featurefields.splats import Splats

BATCH_ELEMENTS = 2**21


class BatchedTorch:
    """Tiles of similar length padded to one batch; weights, then one batched product. Autograd does the derivative."""

    name = "torch, tiles batched"

    def draw(self, splats: Splats, channels: Tensor, camera: Camera, config: RasterConfig) -> Raster:
        projected = project(splats, camera, config)
        members = _tile_members(splats, projected, camera, config)
        columns, rows = -(-camera.width // TILE), -(-camera.height // TILE)
        drawn = torch.cat([channels, channels.new_ones(len(channels), 1)], 1)
        # a last row that draws nothing fills batches up
        drawn = torch.cat([drawn, drawn.new_zeros(1, drawn.shape[1])])
        opacities = torch.cat([splats.opacities, splats.opacities.new_zeros(1)])
        means = torch.cat([projected.means, projected.means.new_zeros(1, 2)])
        a, b, c = (
            projected.covariances[:, i, j] / projected.determinants for i, j in ((1, 1), (0, 1), (0, 0))
        )
        conics = torch.cat([torch.stack([a, b, c], 1), means.new_ones(1, 3)])
        inner = torch.arange(TILE).to(means) + 0.5
        pixels = torch.stack(torch.meshgrid(inner, inner, indexing="ij")[::-1], -1).reshape(-1, 2)
        order = sorted(
            (tile for tile in range(len(members)) if len(members[tile])), key=lambda t: len(members[t])
        )
        done, pictures = [], []
        while order:
            longest = len(members[order[-1]])
            count = max(1, min(len(order), BATCH_ELEMENTS // (longest * TILE * TILE)))
            batch, order = order[-count:], order[:-count]
            index = torch.full((count, longest), len(splats))
            for row, tile in enumerate(batch):
                index[row, : len(members[tile])] = members[tile]
            corner = torch.tensor([[tile % columns * TILE, tile // columns * TILE] for tile in batch]).to(
                means
            )
            d = pixels[None, None] + corner[:, None, None] - means[index][:, :, None]  # b m p 2
            k = conics[index][..., None, :]
            power = (
                -0.5 * (k[..., 0] * d[..., 0] ** 2 + k[..., 2] * d[..., 1] ** 2)
                + k[..., 1] * d[..., 0] * d[..., 1]
            )
            alpha = (opacities[index][..., None] * torch.exp(power)).clamp(max=config.alpha_max)
            alpha = torch.where(alpha >= config.alpha_min, alpha, 0.0)
            alpha = torch.where(torch.cumprod(1 - alpha.detach(), 1) > config.transmittance_min, alpha, 0.0)
            light = torch.cumprod(1 - alpha, 1)
            weights = alpha * torch.cat([torch.ones_like(light[:, :1]), light[:, :-1]], 1)
            pictures.append(torch.bmm(weights.mT, drawn[index]))
            done += batch
        picture = drawn.new_zeros(columns * rows, TILE * TILE, drawn.shape[1])
        if done:
            picture = picture.index_copy(0, torch.tensor(done), torch.cat(pictures))
        picture = picture.reshape(rows, columns, TILE, TILE, -1).permute(0, 2, 1, 3, 4)
        picture = picture.reshape(rows * TILE, columns * TILE, -1)[: camera.height, : camera.width]
        return Raster(picture[..., :-1], picture[..., -1])


@torch.no_grad()
def _tile_members(splats: Splats, projected: Projected, camera: Camera, config: RasterConfig) -> list[Tensor]:
    """Indices of the Gaussians whose box touches each tile, nearest first, row after row of tiles."""
    opacities = splats.opacities
    reach = (2 * torch.log(opacities / config.alpha_min)).clamp(min=0)
    extent = torch.sqrt(reach[:, None] * projected.covariances.diagonal(dim1=1, dim2=2))
    order = torch.argsort(projected.depths, stable=True)
    seen = (projected.depths >= config.near) & (opacities > config.alpha_min)
    order = order[seen[order]]
    size = torch.tensor(camera.size).to(extent)
    low = ((projected.means - extent)[order] - 0.5).ceil().clamp(min=0)
    high = torch.minimum(((projected.means + extent)[order] - 0.5).floor(), size - 1)
    order, low, high = (t[(low <= high).all(1)] for t in (order, low, high))
    first, last = (low / TILE).long(), (high / TILE).long()
    columns, rows = -(-camera.width // TILE), -(-camera.height // TILE)
    across = last - first + 1
    total = across.prod(1)
    owner = torch.repeat_interleave(torch.arange(len(order)), total)
    inner = torch.arange(len(owner)) - (torch.cumsum(total, 0) - total)[owner]
    x = first[owner, 0] + inner % across[owner, 0]
    y = first[owner, 1] + inner // across[owner, 0]
    tile, place = torch.sort(y * columns + x, stable=True)
    counts = torch.bincount(tile, minlength=columns * rows)
    return list(torch.split(order[owner[place]], counts.tolist()))


class GsplatTorch:
    """gsplat's `_torch_impl` (projection and `accumulate`), which CPUs can run once its index search is replaced.

    The search for (Gaussian, pixel) pairs is a CUDA kernel in gsplat; `pairs` finds them with our reference. nerfacc's
    two functions, which it needs, are given in plain torch where nerfacc is missing.

    Args:
        search: search for the pairs in every drawing; otherwise once a camera.

    Raises:
        ImportError: gsplat cannot be imported.
    """

    name = "gsplat _torch_impl"

    def __init__(self, *, search: bool) -> None:
        self._search = search
        if "nerfacc" not in sys.modules:
            sys.modules["nerfacc"] = _nerfacc()
        from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci, accumulate

        self._project, self._covariances = _fully_fused_projection, _quat_scale_to_covar_preci
        self._accumulate = accumulate
        self._pairs: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def pairs(self, splats: Splats, camera: Camera, config: RasterConfig) -> tuple[Tensor, Tensor]:
        """Gaussian and pixel indices of every contribution, by pixel and then by depth."""
        if self._search or id(camera) not in self._pairs:
            gaussians, places = [], []
            for tile in tiles(splats, camera, config):
                pixel, member = (tile.weights > 0).nonzero(as_tuple=True)
                y, x = tile.top + pixel // tile.size[1], tile.left + pixel % tile.size[1]
                gaussians.append(tile.rows[member])
                places.append(y * camera.width + x)
            pixels, order = torch.sort(torch.cat(places), stable=True)
            self._pairs = {id(camera): (torch.cat(gaussians)[order], pixels)}
        return self._pairs[id(camera)]

    def draw(self, splats: Splats, channels: Tensor, camera: Camera, config: RasterConfig) -> Raster:
        gaussians, pixels = self.pairs(splats, camera, config)
        covariances, _ = self._covariances(splats.quats, splats.scales, compute_preci=False, triu=False)
        _, means, _, conics, _ = self._project(
            splats.means, covariances, camera.camera_from_world[None], camera.intrinsics[None],
            camera.width, camera.height, eps2d=config.blur_px2, near_plane=config.near,
        )  # fmt: skip
        image, alpha = self._accumulate(
            means, conics, splats.opacities[None], channels[None], gaussians, pixels, torch.zeros_like(pixels),
            camera.width, camera.height,
        )  # fmt: skip
        return Raster(image[0], alpha[0, ..., 0])


def _nerfacc() -> ModuleType:
    """The two functions of nerfacc that gsplat's reference calls, for rays whose samples are next to each other."""

    def render_weight_from_alpha(
        alphas: Tensor, *, ray_indices: Tensor, n_rays: int
    ) -> tuple[Tensor, Tensor]:
        logs = torch.log1p(-alphas)
        before = torch.cumsum(logs.double(), 0) - logs  # over all rays: float32 would run out of digits
        counts = torch.bincount(ray_indices, minlength=n_rays)
        starts = (torch.cumsum(counts, 0) - counts).clamp(max=max(len(alphas) - 1, 0))
        light = torch.exp((before - before[starts][ray_indices]).to(alphas))
        return alphas * light, light

    def accumulate_along_rays(
        weights: Tensor, values: Tensor | None, *, ray_indices: Tensor, n_rays: int
    ) -> Tensor:
        source = weights[:, None] if values is None else weights[:, None] * values
        return source.new_zeros(n_rays, source.shape[1]).index_add(0, ray_indices, source)

    module = ModuleType("nerfacc")
    module.render_weight_from_alpha = render_weight_from_alpha  # type: ignore[attr-defined]
    module.accumulate_along_rays = accumulate_along_rays  # type: ignore[attr-defined]
    return module
