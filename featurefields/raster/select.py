"""Which backend draws: chosen by device, or by name."""

import torch

from featurefields.raster.interface import Rasterizer
from featurefields.registry import Registry

BACKENDS = Registry(
    kind="backend",
    group="featurefields.backends",
    entries={
        "cpu": "featurefields.raster.cpu:CpuRasterizer",
        "gsplat": "featurefields.raster.gsplat:GsplatRasterizer",
        "reference": "featurefields.raster.reference:ReferenceRasterizer",
    },
    extras={"gsplat": "cuda"},
)


def choose_rasterizer(name: str = "auto", device: str | torch.device = "cpu") -> Rasterizer:
    """The backend called `name`; "auto" takes gsplat on a CUDA device and cpu elsewhere.

    Raises:
        UnknownNameError: no backend of that name.
        UnavailableError: the backend cannot run here; the message keeps the reason.
    """
    if name == "auto":
        name = "gsplat" if torch.device(device).type == "cuda" else "cpu"
    return BACKENDS.load(name)()
