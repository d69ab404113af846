"""`ff export`: a field, or a part of it, as splats, points or a mesh that other programs open."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from featurefields.errors import PromptError

from .baking import baked, baking_error
from .console import Console, Summary
from .inputs import load_field, load_selection
from .options import ComputeOptions, OptionalPath, Output, ReportOptions, WriteOptions
from .solids import SolidOptions, export_mesh, export_points

if TYPE_CHECKING:
    from featurefields.field import FeatureField

Kind = Annotated[Literal["splats", "points", "mesh"], tyro.conf.arg(name="as")]
MESHES = (".ply", ".obj", ".glb")
KSPLAT = ".ksplat"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write a field, or a part of it, for other programs.

    Splats: an ordinary 3DGS .ply that any splat viewer or editor opens (reflections are baked into spherical
    harmonics), .splat, or through the command splat-transform .compressed.ply .sog .spz .html. Points: a .ply with
    normals and colours. A mesh: .ply, .obj or .glb, fused from the depth that all views see.
    """

    field: tyro.conf.Positional[Path]
    """A .safetensors archive, a folder that `ff fit` wrote, or any 3DGS .ply."""
    output: Output
    """The file to write; its ending is the format."""
    kind: Kind = "splats"
    """What to make of the Gaussians."""
    selection: OptionalPath = None
    """Write only what this selection file (of `ff segment`) chose."""
    rest: bool = False
    """Write what the selection did not choose."""
    frame: Literal["capture", "world"] = "capture"
    """capture: where the photos' poses are, so that it fits the photos; world: as the field is stored."""
    sh_degree: Literal[0, 1, 2, 3] = 3
    """Degree of the spherical harmonics of splats."""
    sky: bool = False
    """Add 2,000 distant splats that show the sky, for viewers that would show black there."""
    quick: bool = False
    """Bake reflections from fewer views: faster, and 1 to 2 dB further from the field on shiny things."""
    solid: tyro.conf.OmitArgPrefixes[SolidOptions] = SolidOptions()
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: ExportOptions, console: Console) -> Summary:
    """Select, move, make and write."""
    from featurefields.atomic import refuse_existing

    if options.rest and options.selection is None:
        raise PromptError(
            "--rest asked for what a selection leaves, but there is none; pass --selection FILE too"
        )
    _check_ending(options)
    options.solid.check(options.kind)
    refuse_existing(options.output, options.write.overwrite)
    field = load_field(options.field)
    total = len(field)
    part = _chosen(options, field)
    if options.kind == "splats":
        rows = _export_splats(options, part, console)
    else:
        make = export_mesh if options.kind == "mesh" else export_points
        rows = make(
            part,
            options.output,
            options.solid,
            options.compute,
            console,
            in_world=options.frame == "world",
            alone=options.selection is not None,
            overwrite=options.write.overwrite,
        )
    rows = {"splats": len(part), "of": total, **rows, "frame": options.frame}
    rows["MB"] = options.output.stat().st_size / 1e6
    told = options.kind == "splats" and options.output.suffix.lower() == ".ply"
    told = told and not options.output.name.lower().endswith(".compressed.ply")
    return Summary(
        f"exported {options.field}", rows, [options.output], [f"ff info {options.output}"] if told else []
    )


def _chosen(options: ExportOptions, field: "FeatureField") -> "FeatureField":
    """The field, or its selected part."""
    if options.selection is None:
        return field
    selection = load_selection(options.selection, field)
    mask = ~selection.mask if options.rest else selection.mask
    if not mask.any():
        left = "leaves" if options.rest else "chose"
        raise PromptError(f"{options.selection} {left} no splats, so there is nothing to write; select again")
    return field.with_splats(field.splats.select(mask))


def _check_ending(options: ExportOptions) -> None:
    """Raise `PromptError` or `UnavailableError`, before any work, when the file cannot be written."""
    from featurefields.files.compressed import ENDINGS, check_available, compressed_ending

    output, ending = options.output, options.output.suffix.lower()
    if options.kind == "mesh":
        if ending not in MESHES:
            raise PromptError(f"--output {output} is no mesh file; end it in {', '.join(MESHES)}")
        from featurefields.surfaces.fusion import check_available as check_open3d

        return check_open3d()
    if options.kind == "points":
        if ending != ".ply":
            raise PromptError(f"--output {output} is no .ply; points are written to .ply files")
        return None
    if ending == KSPLAT:
        raise PromptError(
            f"--output {output}: nothing that is kept up writes .ksplat; write a .ply or .splat and let its viewer's "
            "own tool convert that"
        )
    if compressed_ending(output) is not None:
        check_available(output)
    elif ending not in (".ply", ".splat"):
        raise PromptError(
            f"--output {output} is no .ply, .splat, {', '.join(ENDINGS)} file; end it so, or pass --as mesh"
        )
    return None


def _export_splats(options: ExportOptions, field: "FeatureField", console: Console) -> dict[str, object]:
    from featurefields.files.compressed import compressed_ending, write_compressed
    from featurefields.files.dot_splat import write_dot_splat
    from featurefields.files.ply import write_ply

    overwrite, output = options.write.overwrite, options.output
    in_world, degree = options.frame == "world", options.sh_degree
    if output.suffix.lower() == ".splat":  # which has no more
        degree = 0
    splats = baked(field, console, in_world=in_world, degree=degree, sky=options.sky, quick=options.quick)
    rows = {"sh degree": degree, **baking_error(field, splats, in_world=in_world, sky=options.sky)}
    if compressed_ending(output) is not None:
        with console.progress(f"compressing {len(splats):,} splats"):
            write_compressed(splats, output, overwrite=overwrite)
    elif output.suffix.lower() == ".splat":
        write_dot_splat(splats, output, overwrite=overwrite)
    else:
        write_ply(splats, output, overwrite=overwrite)
    return rows
