"""Options that commands share: groups, nested with `tyro.conf.OmitArgPrefixes`, and types of attributes.

Every command has a group `ReportOptions` called `report`; the docstrings below are seen by users.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    import torch

    from featurefields.raster import Rasterizer

Output = Annotated[Path, tyro.conf.arg(aliases=["-o"])]
"""Type of an attribute `output`, which is then also spelled -o."""
Number = Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")]
"""Type of an attribute that is a whole number or not given."""
Decimal = Annotated[float | None, tyro.conf.arg(metavar="F", help_behavior_hint="")]
"""Type of an attribute that is a number or not given."""
OptionalName = Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")]
"""Type of an attribute that is a name or not given."""
OptionalPath = Annotated[Path | None, tyro.conf.arg(metavar="PATH", help_behavior_hint="")]
"""Type of an attribute that is a path or not given."""
Names = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")]
"""Type of an attribute that is any number of names."""
Size = Annotated[str, tyro.conf.arg(metavar="SIZE")]
"""Type of an attribute that is an amount of memory or disk, for `parse_size`."""
RepeatedNames = tyro.conf.UseAppendAction[
    Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME", help_behavior_hint="(may be repeated)")]
]
"""Type of an attribute that is given once for each name."""


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def parse_size(text: str, option: str) -> int:
    """Bytes of "4GB", "500 MB", "1.5GiB" or "2000000".

    Raises:
        FittingError: it is none of these, or nothing; the message names the `option`.
    """
    import re

    from featurefields.errors import FittingError

    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(I?)B?\s*", text.upper())
    if found is None or (found[3] and not found[2]) or float(found[1]) == 0:
        raise FittingError(f"{option} is an amount of memory such as 4GB or 500MB, got '{text}'")
    unit = 1024 ** "_KMGT".index(found[2]) if found[3] else _UNITS[found[2]]
    return int(float(found[1]) * unit)


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How the outcome is told."""

    json: bool = False
    """Print exactly one JSON object on stdout instead of a table; no progress."""


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """What may happen to files that exist."""

    overwrite: bool = False
    """Replace files that exist; without it a command refuses before any work."""


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Where and how it is computed."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA device when there is one."""
    backend: str = "auto"
    """What draws: cpu, gsplat or reference; auto takes gsplat on a CUDA device and cpu elsewhere."""

    def torch_device(self) -> "torch.device":
        """The device to use.

        Raises:
            UnavailableError: cuda was asked for and there is none.
        """
        import torch

        from featurefields.errors import UnavailableError

        present = torch.cuda.is_available()
        if self.device == "cuda" and not present:
            raise UnavailableError(
                "--device cuda was asked for, but torch finds no CUDA device here; use --device cpu, or auto"
            )
        return torch.device("cuda" if self.device != "cpu" and present else "cpu")

    def rasterizer(self) -> "Rasterizer":
        """The backend to draw with. Raises `UnavailableError` when it cannot run here."""
        from featurefields.raster import choose_rasterizer

        return choose_rasterizer(self.backend, self.torch_device())


@dataclass(frozen=True, kw_only=True)
class SeedOptions:
    """What is random."""

    seed: int = 0
    """Seed of everything random; the same seed on the same machine gives the same result."""

    def generator(self, device: "torch.device | str" = "cpu") -> "torch.Generator":
        """A fresh generator on `device`, seeded."""
        import torch

        return torch.Generator(device=device).manual_seed(self.seed)
