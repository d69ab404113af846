"""Splats as PLY files of the usual 3D Gaussian splatting layout, both ways.

Letters: n Gaussians · k = (degree + 1)^2 harmonics, degree 0 to 3.

Properties of element "vertex", float32, little endian when written: x y z · nx ny nz · f_dc_0..2 (first
harmonic of R, G, B) · f_rest_0.. (the other harmonics, all of R, then all of G, then all of B) · opacity
(logit) · scale_0..2 (natural logarithm of the standard deviations) · rot_0..3 (quaternion w x y z). Values
are taken and given as stored; nothing is activated or normalised. Displayed colour = 0.5 + sum of coefficient
times real harmonic (sRGB).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from featurefields.atomic import refuse_existing
from featurefields.errors import FileFormatError, WriteError
from featurefields.field import About, FeatureField
from featurefields.files.drawable import drawable
from featurefields.heads import head_from_config
from featurefields.ply_table import Table, read_vertices, write_vertices
from featurefields.splats import Splats

POSITION = ("x", "y", "z")
NORMAL = ("nx", "ny", "nz")
BASE_COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
SCALE = ("scale_0", "scale_1", "scale_2")
ROTATION = ("rot_0", "rot_1", "rot_2", "rot_3")
REQUIRED = (*POSITION, *BASE_COLOUR, "opacity", *SCALE, *ROTATION)
REST_COUNTS = (0, 9, 24, 45)
"""Number of f_rest properties of degree 0, 1, 2, 3."""

PROPERTY_DTYPES = (
    *(torch.uint8, torch.int8, torch.uint16, torch.int16, torch.uint32, torch.int32),
    *(torch.float32, torch.float64),
)

BLOCK = 1 << 14
"""Rows taken from a table at once."""

EXTRA = "ply."
"""Prefix of the columns that hold properties beyond the usual ones."""


def write_ply(
    splats: Splats,
    path: str | Path,
    *,
    overwrite: bool = False,
    extra: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write splats with a column "harmonics" (n k 3), k = 1, 4, 9 or 16, and optionally "normals" (n 3).

    Columns called "ply.NAME" (as `read_ply` makes them) and then `extra` (each n) are appended as properties NAME in
    their dtype; booleans become uchar, half floats float, int64 becomes int. Other columns are left out.

    Raises:
        WriteError: `path` exists and `overwrite` is False, there are no splats or no harmonics to write, an
            extra column does not fit (name, shape, range), or the system refused.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    table = _table(splats, path)
    kept = {
        name.removeprefix(EXTRA): tensor for name, tensor in splats.columns.items() if name.startswith(EXTRA)
    }
    for name, tensor in {**kept, **(extra or {})}.items():
        if name in table or name.startswith("f_rest_"):
            raise WriteError(
                f"cannot write {path}: a column '{name}' is part of every splat PLY; rename yours"
            )
        table[name] = _property(name, tensor, len(splats), path)
    write_vertices(table, path, overwrite=overwrite)
    return path


def read_ply(path: str | Path) -> FeatureField:
    """The splats of a PLY file (binary or ascii, properties in any order) with a head "rgb" of harmonics.

    Scalar properties beyond the usual ones are kept as columns "ply.NAME" in their dtype, normals that are
    not all zero as column "normals". Splats whose place, shape or colour is not finite cannot be drawn (see
    `usable_rows`): they are left out and counted in `about.notes["left_out"]`.

    Raises:
        FileFormatError: no such file, truncated or malformed, not a Gaussian-splat PLY, or nothing in it.
    """
    path = Path(path)
    splats, degree = _every_row(path)
    usable = _usable(splats)
    left_out = len(splats) - int(usable.sum())
    if left_out == len(splats):
        raise FileFormatError(f"{path} holds no usable splats: the numbers of all {left_out} are not finite")
    heads = {"rgb": head_from_config("harmonics", {"degree": degree})}
    about = About(scene=path.stem, notes={"left_out": left_out} if left_out else {})
    return FeatureField(splats.select(usable) if left_out else splats, heads, about)


def usable_rows(path: str | Path) -> Bool[Tensor, "n"]:
    """Which rows of the file `read_ply` gives, in their order; the others cannot be drawn.

    Raises:
        FileFormatError: as `read_ply`.
    """
    return _usable(_every_row(Path(path))[0])


def _usable(splats: Splats) -> Bool[Tensor, "n"]:
    return drawable(splats) & torch.isfinite(splats.columns["harmonics"]).flatten(1).all(-1)


def _every_row(path: Path) -> tuple[Splats, int]:
    """All rows as they are, and the degree of the harmonics."""
    vertices = read_vertices(path)
    if not any(len(values) for values in vertices.values()):
        raise FileFormatError(f"{path} holds no vertices; pass a Gaussian-splat PLY")
    rest = _rest(path, vertices)
    columns = {"harmonics": _harmonics(vertices, rest)}
    if all(name in vertices for name in NORMAL) and any(vertices[name].any() for name in NORMAL):
        columns["normals"] = _gathered(vertices, NORMAL)
    for name in [name for name in vertices if name not in {*REQUIRED, *NORMAL, *rest}]:
        values = vertices[name]
        columns[EXTRA + name] = torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))
    splats = Splats(
        means=_gathered(vertices, POSITION),
        quats=_gathered(vertices, ROTATION),
        log_scales=_gathered(vertices, SCALE),
        opacity_logits=_gathered(vertices, ("opacity",))[:, 0],
        columns=columns,
    )
    return splats, REST_COUNTS.index(len(rest))


def _table(splats: Splats, path: Path) -> Table:
    """The usual properties by name, in the usual order."""
    harmonics = splats.columns.get("harmonics")
    count = len(splats)
    if count == 0:
        raise WriteError(f"cannot write {path}: there are no splats to write; choose at least one")
    if harmonics is None or harmonics.shape not in [(count, 1 + rest // 3, 3) for rest in REST_COUNTS]:
        found = "there is none" if harmonics is None else f"it is {tuple(harmonics.shape)}"
        raise WriteError(
            f"cannot write {path}: a splat PLY needs a column 'harmonics' ({count} k 3) with k = 1, 4, 9 or "
            f"16, {found}; bake the colour into harmonics first"
        )
    normals = splats.columns.get("normals", torch.zeros_like(splats.means))
    if tuple(normals.shape) != (count, 3):
        raise WriteError(f"cannot write {path}: column 'normals' is {tuple(normals.shape)}, not {(count, 3)}")
    rest = harmonics[:, 1:].transpose(1, 2).reshape(count, -1)
    parts = {
        POSITION: splats.means,
        NORMAL: normals,
        BASE_COLOUR: harmonics[:, 0],
        tuple(f"f_rest_{index}" for index in range(rest.shape[1])): rest,
        ("opacity",): splats.opacity_logits[:, None],
        SCALE: splats.log_scales,
        ROTATION: splats.quats,
    }
    table = {}
    for names, values in parts.items():
        array = values.detach().to("cpu", torch.float32).numpy()
        table |= {name: array[:, index] for index, name in enumerate(names)}
    return table


def _property(name: str, tensor: Tensor, count: int, path: Path) -> NDArray[Any]:
    """An extra column (n) as a type that PLY has."""
    if tuple(tensor.shape) != (count,):
        raise WriteError(
            f"cannot write {path}: column '{name}' is {tuple(tensor.shape)}, a PLY takes one number for each "
            f"of {count} splats"
        )
    values = tensor.detach().cpu()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    elif values.dtype == torch.bool:
        values = values.to(torch.uint8)
    elif values.dtype == torch.int64:
        values = values.to(torch.int32)
        if not torch.equal(values.long(), tensor.detach().cpu()):
            raise WriteError(f"cannot write {path}: column '{name}' has numbers beyond 32 bits; renumber it")
    if values.dtype not in PROPERTY_DTYPES:
        raise WriteError(f"cannot write {path}: column '{name}' has dtype {values.dtype}; convert it first")
    return values.numpy()


def _gathered(vertices: Table, names: tuple[str, ...]) -> Float[Tensor, "n m"]:
    """Columns side by side as float32, block by block of rows: a table of rows is read through only once."""
    count = len(vertices[names[0]])
    values = np.empty((count, len(names)), np.float32)
    with np.errstate(over="ignore"):
        for start in range(0, count, BLOCK):
            rows = slice(start, start + BLOCK)
            for place, name in enumerate(names):
                values[rows, place] = vertices[name][rows]
    return torch.from_numpy(values)


def _harmonics(vertices: Table, rest: tuple[str, ...]) -> Float[Tensor, "n k 3"]:
    """The first harmonic of every channel, then for each further one red, green and blue."""
    bands = len(rest) // 3
    names = [*BASE_COLOUR, *(rest[channel * bands + band] for band in range(bands) for channel in range(3))]
    return _gathered(vertices, tuple(names)).reshape(-1, 1 + bands, 3)


def _rest(path: Path, vertices: Table) -> tuple[str, ...]:
    """Names of the f_rest properties in order, after checking that this is a Gaussian-splat PLY."""
    missing = [name for name in REQUIRED if name not in vertices]
    if "packed_position" in vertices:
        raise FileFormatError(f"{path} is a compressed splat PLY; export it uncompressed from your editor")
    if {"opacity", *SCALE, *ROTATION} <= {*missing}:
        raise FileFormatError(
            f"{path} is a plain point cloud or mesh, not a Gaussian-splat PLY (no {', '.join(missing)}); "
            "fit a field to photos first"
        )
    if missing:
        raise FileFormatError(
            f"{path} is not a Gaussian-splat PLY: no {', '.join(missing)}; export it in the standard layout"
        )
    found = sum(name.startswith("f_rest_") for name in vertices)
    rest = tuple(f"f_rest_{index}" for index in range(found))
    if found not in REST_COUNTS or any(name not in vertices for name in rest):
        raise FileFormatError(
            f"{path} is not a usual Gaussian-splat PLY: {found} f_rest properties instead of "
            "f_rest_0 and on, 0, 9, 24 or 45 of them; export it with harmonics of degree 0 to 3"
        )
    return rest
