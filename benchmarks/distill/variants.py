"""What is trained: the method as it is, and with one part of it left out at a time."""

from dataclasses import dataclass

BASE = "base"


@dataclass(frozen=True)
class Variant:
    """One way to distil: options of `ff distill` beside the common ones."""

    name: str
    options: tuple[str, ...] = ()


FULL = Variant("full")
ABLATIONS = (
    Variant("no-blending", ("--blend", "1")),
    Variant("frozen-teacher", ("--frozen-teacher",)),
    Variant("bilinear", ("--upsampling", "bilinear")),
    Variant("direct-loss", ("--loss", "direct")),
    Variant("centred-loss", ("--loss", "centred")),
    Variant("no-masks", ("--masks", "none")),
    Variant("automatic-masks", ("--masks", "automatic")),
)


def chosen(names: list[str]) -> list[Variant]:
    """The ablations called so; "all" for all. Raises `KeyError` for an unknown name."""
    known = {variant.name: variant for variant in ABLATIONS}
    return list(ABLATIONS) if names == ["all"] else [known[name] for name in names]
