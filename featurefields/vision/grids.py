"""Between patches and pixels.

Letters: h w pixels · hp wp rows and columns of patches · d feature dimension · m points.

Patches are area samples: patch (i, j) of a map that describes an image of size (w, h) sits at its centre,
x = (j + 0.5) w / wp, y = (i + 0.5) h / hp. Beyond the outermost centres the nearest patch continues.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

_PAIRS = 1 << 22
"""Pixel-patch distances held in memory at once when a pixel looks for its nearest patch."""


def upsample(
    features: Float[Tensor, "d hp wp"], size: tuple[int, int], *, masks: Int[Tensor, "h w"] | None = None
) -> Float[Tensor, "h w d"]:
    """Features at every pixel of an image of `size` = (width, height), bilinear between patch centres.

    With `masks` (segment ids of the pixels) only patches of the pixel's own segment count, and their weights
    are renormalised; a patch belongs to the segment that has most pixels in it. A pixel without such a
    neighbour takes the nearest patch of its segment, and plain bilinear values when its segment owns no patch.
    Half precision is computed in single precision. Differentiable in the features.
    """
    features = _computable(features)
    width, height = size
    if masks is not None:
        return _upsample_within(features, masks)
    source = features[None].contiguous(memory_format=torch.channels_last)
    pixels = interpolate(source, size=(height, width), mode="bilinear", align_corners=False)
    return pixels[0].permute(1, 2, 0).contiguous()


def sample(
    features: Float[Tensor, "d hp wp"], xy_px: Float[Tensor, "m 2"], size: tuple[int, int]
) -> Float[Tensor, "m d"]:
    """Features at pixel coordinates (x, y) of an image of `size` = (width, height), as `upsample` has them."""
    features = _computable(features)
    rows, columns = features.shape[-2:]
    flat = features.flatten(1).T
    across = _taps(xy_px[:, 0], size[0], columns)
    down = _taps(xy_px[:, 1], size[1], rows)
    value = 0.0
    for row, row_weight in down:
        for column, column_weight in across:
            value = value + flat[row * columns + column] * (row_weight * column_weight).to(flat)[:, None]
    return torch.as_tensor(value)


def pool(
    pixels: Float[Tensor, "h w d"], grid: tuple[int, int], *, weights: Float[Tensor, "h w"] | None = None
) -> Float[Tensor, "d hp wp"]:
    """The mean of the pixels under each patch of `grid` = (columns, rows), by exact area.

    Pixels on a border between patches count in proportion to their area in each. With `weights` (coverage or
    validity of the pixels, >= 0) it is the weighted mean, and 0 where no weight falls in a patch.
    Differentiable.
    """
    height, width = pixels.shape[:2]
    down = _overlaps(height, grid[1]).to(pixels)
    across = _overlaps(width, grid[0]).to(pixels)
    if weights is None:
        return torch.einsum("ih,hwd,jw->dij", down, pixels, across)
    total = torch.einsum("ih,hwd,jw->dij", down, pixels * weights[..., None], across)
    mass = down @ weights.to(pixels) @ across.T
    return torch.where(mass > 0, total / torch.where(mass > 0, mass, 1.0), 0.0)


def patch_segments(masks: Int[Tensor, "h w"], grid: tuple[int, int]) -> Int[Tensor, "hp wp"]:
    """The segment id with most pixels in each patch (ties to the smallest id); -1 where no pixel centre falls."""
    columns, rows = grid
    height, width = masks.shape
    ids, index = torch.unique(masks, return_inverse=True)
    row = (torch.arange(height, device=masks.device) * 2 + 1) * rows // (2 * height)
    column = (torch.arange(width, device=masks.device) * 2 + 1) * columns // (2 * width)
    patch = row[:, None] * columns + column
    keys, counts = torch.unique(patch * len(ids) + index.view_as(masks), return_counts=True)
    rank = counts * len(ids) + (len(ids) - 1 - keys % len(ids))
    best = torch.full((rows * columns,), -1, dtype=torch.long, device=masks.device)
    best.scatter_reduce_(0, keys // len(ids), rank, reduce="amax")
    owner = ids.long()[len(ids) - 1 - best.clamp(min=0) % len(ids)]
    return torch.where(best >= 0, owner, -1).view(rows, columns)


def _upsample_within(features: Float[Tensor, "d hp wp"], masks: Int[Tensor, "h w"]) -> Float[Tensor, "h w d"]:
    """Mask-aware bilinear upsampling; see `upsample`."""
    rows, columns = features.shape[-2:]
    height, width = masks.shape
    owners = patch_segments(masks, (columns, rows)).flatten()
    flat = features.flatten(1).T
    x = torch.arange(width, device=masks.device) + 0.5
    y = torch.arange(height, device=masks.device) + 0.5
    plain, within = flat.new_zeros(height, width, len(features)), flat.new_zeros(height, width, len(features))
    support = flat.new_zeros(height, width)
    for row, row_weight in _taps(y, height, rows):
        for column, column_weight in _taps(x, width, columns):
            patch = row[:, None] * columns + column
            weight = (row_weight[:, None] * column_weight).to(flat)
            same = weight * (owners[patch] == masks)
            plain = plain + flat[patch] * weight[..., None]
            within = within + flat[patch] * same[..., None]
            support = support + same
    found = support > 0
    values = torch.where(found[..., None], within / torch.where(found, support, 1.0)[..., None], plain)
    lonely = torch.nonzero(~found)
    nearest = _nearest_own_patch(lonely, masks, owners, (columns, rows))
    row, column = lonely[nearest >= 0].unbind(-1)
    return values.index_put((row, column), flat[nearest[nearest >= 0]])


def _nearest_own_patch(
    pixels: Int[Tensor, "m 2"], masks: Int[Tensor, "h w"], owners: Int[Tensor, "p"], grid: tuple[int, int]
) -> Int[Tensor, "m"]:
    """For pixels (row, column): index of the nearest patch that their segment owns, -1 where it owns none."""
    height, width = masks.shape
    columns, rows = grid
    every = torch.arange(len(owners), device=masks.device)
    centre = torch.stack(
        [(every // columns + 0.5) * (height / rows), (every % columns + 0.5) * (width / columns)], -1
    )
    nearest = torch.full((len(pixels),), -1, dtype=torch.long, device=masks.device)
    segment = masks[pixels[:, 0], pixels[:, 1]]
    for value in torch.unique(segment).tolist():
        own = every[owners == value]
        if len(own) == 0:
            continue
        chosen = torch.nonzero(segment == value).squeeze(-1)
        for part in chosen.split(max(1, _PAIRS // len(own))):
            distance = torch.cdist(pixels[part] + 0.5, centre[own])
            nearest[part] = own[distance.argmin(-1)]
    return nearest


def _taps(
    positions: Float[Tensor, "m"], extent: int, patches: int
) -> list[tuple[Int[Tensor, "m"], Float[Tensor, "m"]]]:
    """The two patches around each pixel coordinate along one axis, and their linear weights."""
    at = (positions.double() * (patches / extent) - 0.5).clamp(0, patches - 1)
    low = at.floor().long().clamp(max=max(patches - 2, 0))
    high = (low + 1).clamp(max=patches - 1)
    fraction = at - low
    return [(low, 1 - fraction), (high, fraction)]


def _overlaps(pixels: int, patches: int) -> Float[Tensor, "patches pixels"]:
    """Along one axis: the share of each patch that each pixel covers (rows sum to one)."""
    edge = torch.arange(patches + 1, dtype=torch.float64) * (pixels / patches)
    start = torch.arange(pixels, dtype=torch.float64)
    covered = torch.minimum(edge[1:, None], start + 1) - torch.maximum(edge[:-1, None], start)
    return covered.clamp(min=0) * (patches / pixels)


def _computable(features: Tensor) -> Tensor:
    return features if features.dtype in (torch.float32, torch.float64) else features.float()
