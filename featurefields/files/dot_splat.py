"""Splats as .splat files: the plain 32-byte records of early web viewers, colours without view dependence.

Letters: n Gaussians.

A record: three float32 of the mean, three float32 of the standard deviations, red, green, blue, opacity as bytes, and
the unit quaternion w x y z as bytes 128 + 128 q; little endian, no header. The most visible Gaussians come first, so
that a viewer has something to show while it loads.
"""

from pathlib import Path

import numpy as np
import torch

from featurefields.atomic import write_bytes
from featurefields.errors import WriteError
from featurefields.maths.harmonics import CONSTANT
from featurefields.splats import Splats

RECORD = np.dtype([("place", "<f4", 3), ("scale", "<f4", 3), ("colour", "u1", 4), ("turn", "u1", 4)])


def write_dot_splat(splats: Splats, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write splats with a column "harmonics" (n k 3), of which only the constant band is kept.

    Raises:
        WriteError: there are no splats or no harmonics, the file exists, or the system refused.
    """
    path = Path(path)
    harmonics = splats.columns.get("harmonics")
    if len(splats) == 0 or harmonics is None:
        raise WriteError(f"cannot write {path}: there are no splats with harmonics to write")
    order = splats.footprints.argsort(descending=True)
    splats = splats.detach().select(order).to("cpu")
    colour = 0.5 + CONSTANT * splats.columns["harmonics"][:, 0]
    shown = torch.cat([colour, splats.opacities[:, None]], dim=-1).clamp(0, 1)
    turn = torch.nn.functional.normalize(splats.quats, dim=-1)
    records = np.empty(len(splats), RECORD)
    records["place"], records["scale"] = splats.means.float().numpy(), splats.scales.float().numpy()
    records["colour"] = (shown * 255).round().to(torch.uint8).numpy()
    records["turn"] = (128 + 128 * turn).round().clamp(0, 255).to(torch.uint8).numpy()
    return write_bytes(path, records.tobytes(), overwrite=overwrite)
