"""What training needs of a view, read once and kept.

Letters: H W pixels of the photo · h w pixels of the splatted picture.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from featurefields.camera import Camera
from featurefields.distillation.segments import colour_segments
from featurefields.scene import View

MaskSource = Literal["given", "automatic", "none"]
Segmenter = Callable[[Float[Tensor, "3 h w"]], Int[Tensor, "h w"]]


@dataclass(frozen=True)
class Seen:
    """One view.

    Attributes:
        scene, name: which view of which scene.
        image: sRGB colours in 0..1, which the networks see.
        camera: of the splatted picture.
        depth: along the optical axis, 0 where unknown; None without a depth map.
        masks: ids of the segments; None without (nothing is blended then).
        counted: pixels that show the scene.
    """

    scene: str
    name: str
    image: Float[Tensor, "3 H W"]
    camera: Camera
    depth: Float[Tensor, "h w"] | None
    masks: Int[Tensor, "h w"] | None
    counted: Bool[Tensor, "h w"]

    @property
    def nbytes(self) -> int:
        """Memory it takes."""
        parts = (self.image, self.depth, self.masks, self.counted)
        return sum(part.nbytes for part in parts if part is not None)

    def to(self, device: torch.device) -> "Seen":
        depth, masks = (None if part is None else part.to(device) for part in (self.depth, self.masks))
        return replace(
            self,
            image=self.image.to(device),
            camera=self.camera.to(device),
            depth=depth,
            masks=masks,
            counted=self.counted.to(device),
        )


@torch.no_grad()
def see(
    view: View,
    scene: str = "",
    *,
    scale: float = 0.5,
    masks: MaskSource = "given",
    segment: Segmenter = colour_segments,
) -> Seen:
    """Read a view. Depth, masks and the camera get `scale` times the photo's size; each takes the nearest pixel.

    Raises:
        SceneError: a file is unreadable.
    """
    image = view.picture.image().permute(2, 0, 1).contiguous()
    size = (max(1, round(view.camera.width * scale)), max(1, round(view.camera.height * scale)))
    found = None
    if masks == "given":
        layer = view.picture.layer("instance")
        found = None if layer is None else nearest(layer[..., 0].round().int(), size)
    elif masks == "automatic":
        found = nearest(segment(image), size)
    depth, counted = view.picture.depth(), view.picture.mask()
    return Seen(
        scene,
        view.name,
        image,
        view.camera.resized(size),
        None if depth is None else nearest(depth, size),
        found,
        torch.ones(size[1], size[0], dtype=torch.bool) if counted is None else nearest(counted, size),
    )


def nearest(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels (h w) in which the centres of a picture of `size` = (width, height) lie."""
    height, width = pixels.shape
    rows = (torch.arange(size[1]) * 2 + 1) * height // (2 * size[1])
    columns = (torch.arange(size[0]) * 2 + 1) * width // (2 * size[0])
    return pixels[rows[:, None], columns]


class SeenViews:
    """Views by place, read ahead in the background; the least recently used go when `budget_bytes` are full."""

    def __init__(
        self, readings: Sequence[Callable[[], Seen]], *, budget_bytes: int = 2 * 10**9, readers: int = 2
    ) -> None:
        """`readings`: for every place, a function that reads the view."""
        self._readings, self._budget = readings, budget_bytes
        self._kept: OrderedDict[int, Seen] = OrderedDict()
        self._coming: dict[int, Future[Seen]] = {}
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="views")
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._readings)

    def expect(self, places: Iterable[int]) -> None:
        """Start to read views that will be asked for."""
        for place in set(places) - self._kept.keys() - self._coming.keys():
            self._coming[place] = self._pool.submit(self._readings[place])

    def __getitem__(self, place: int) -> Seen:
        if place in self._kept:
            self._kept.move_to_end(place)
            return self._kept[place]
        coming = self._coming.pop(place, None)
        seen = coming.result() if coming is not None else self._readings[place]()
        self._kept[place] = seen
        self._bytes += seen.nbytes
        while self._bytes > self._budget and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return seen
