"""`ff export`: a field, or a part of it, as an ordinary 3DGS .ply."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from featurefields.errors import PromptError

from .baking import baked
from .console import Console, Summary
from .inputs import load_field, load_selection
from .options import OptionalPath, Output, ReportOptions, WriteOptions


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write an ordinary 3DGS .ply that any splat viewer or editor opens.

    Reflections are baked into spherical harmonics.
    """

    field: tyro.conf.Positional[Path]
    """A .safetensors archive, a folder that `ff fit` wrote, or any 3DGS .ply."""
    output: Output
    """The .ply to write."""
    selection: OptionalPath = None
    """Write only what this selection file (of `ff segment`) chose."""
    rest: bool = False
    """Write what the selection did not choose."""
    frame: Literal["capture", "world"] = "capture"
    """capture: where the photos' poses are, so that it fits the photos; world: as the field is stored."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Degree of the spherical harmonics."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: ExportOptions, console: Console) -> Summary:
    """Select, move, bake and write."""
    from featurefields.atomic import refuse_existing

    if options.rest and options.selection is None:
        raise PromptError(
            "--rest asked for what a selection leaves, but there is none; pass --selection FILE too"
        )
    if options.output.suffix.lower() != ".ply":
        raise PromptError(f"--output {options.output} is no .ply; this command writes only .ply files")
    refuse_existing(options.output, options.write.overwrite)
    field = load_field(options.field)
    total = len(field)

    from featurefields.files.ply import write_ply

    if options.selection is not None:
        selection = load_selection(options.selection, field)
        mask = ~selection.mask if options.rest else selection.mask
        if not mask.any():
            left = "leaves" if options.rest else "chose"
            raise PromptError(
                f"{options.selection} {left} no splats, so there is nothing to write; select again"
            )
        field = field.with_splats(field.splats.select(mask))
    splats = baked(field, console, in_world=options.frame == "world", degree=options.sh_degree)
    write_ply(splats, options.output, overwrite=options.write.overwrite)
    rows = {
        "splats": len(field),
        "of": total,
        "sh degree": options.sh_degree,
        "frame": options.frame,
        "MB": options.output.stat().st_size / 1e6,
    }
    return Summary(f"exported {options.field}", rows, [options.output], [f"ff info {options.output}"])
