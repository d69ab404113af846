"""`ff eval`: a field against its held-out photos and, where there is any, ground truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from featurefields.errors import UnknownNameError

from .clicks import ClickRow, ClickTrial, read_clicks
from .console import Console, Summary
from .features import find_extractor, known_solver
from .held_out import measured_on
from .inputs import load_field
from .options import ComputeOptions, Names, OptionalPath, ReportOptions, WriteOptions
from .queries import PLAIN, clicked_in, extracted_from, featured_fields, seen_features, with_features
from .tables import evaluation_tables

if TYPE_CHECKING:
    from featurefields.camera import Camera
    from featurefields.evaluation.agreement import AgreementRow
    from featurefields.evaluation.colour import ColourReport
    from featurefields.evaluation.regions import RegionRows, SceneObject
    from featurefields.field import FeatureField
    from featurefields.raster import Rasterizer
    from featurefields.scene import Scene
    from featurefields.vision.interface import Extractor

OptionalOutput = Annotated[
    Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE.json", help_behavior_hint="")
]


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """Measure a field on the photos it was not fitted to.

    Always: PSNR and SSIM of the pictures. Where the scene has them, against pictures without reflections, normals,
    roughness, instance ids and one click an object (clicks.json). docs/evaluation.md states every protocol.
    """

    field: tyro.conf.Positional[Path]
    """A folder that `ff fit` wrote, a .safetensors archive, or a 3DGS .ply."""
    data: OptionalPath = None
    """Folder of the photos, when it is not where it was fitted."""
    features: str = "none"
    """Extractor that the features are compared with (as in `ff fit`); none compares nothing."""
    solvers: Names = ()
    """Ways to lift the extractor's features that are compared with each other (uplift, least-squares, sgd); without,
    the features stored in the field are measured."""
    highlight: float = 0.1
    """Specular light above this is a highlight (linear light of the photo, largest channel)."""
    output: OptionalOutput = None
    """Also write everything as one JSON object to this file."""
    cache: OptionalPath = None
    """Folder that keeps extracted features; by default the user's cache folder."""
    write: tyro.conf.OmitArgPrefixes[WriteOptions] = WriteOptions()
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


@dataclass(frozen=True)
class Evaluation:
    """All that was measured; agreement and clicks by what they were measured with."""

    colour: "ColourReport"
    agreement: "Mapping[str, RegionRows[AgreementRow]]"
    clicks: "Mapping[str, RegionRows[ClickRow]]"
    notes: tuple[str, ...]


def run(options: EvalOptions, console: Console) -> Summary:
    """Measure, and write the JSON file if one was asked for."""
    import json

    from featurefields.atomic import refuse_existing, write_bytes

    if options.solvers and options.features == "none":
        raise UnknownNameError(
            f"--solvers {' '.join(options.solvers)} lift features, but --features names no extractor; name one"
        )
    for solver in options.solvers:
        known_solver(solver)
    field = load_field(options.field)
    if options.output is not None:
        refuse_existing(options.output, options.write.overwrite)
    field, scene = measured_on(field, options.data, console)
    device, rasterizer = options.compute.torch_device(), options.compute.rasterizer()
    extractor = find_extractor(options.features, device, console)
    found = evaluate(
        field.to(device), scene, rasterizer, console, extractor=extractor, solvers=options.solvers,
        highlight=options.highlight, cache=options.cache,
    )  # fmt: skip
    rows = {
        "scene": scene.name,
        "views": len(scene.split("test")),
        "splats": len(field),
        **main_rows(found),
        **seen_rows(field.to(device), scene, rasterizer, console, extractor=extractor, cache=options.cache),
    }
    details = {**_details(found), "highlight threshold": options.highlight}
    title, paths = f"measured {options.field}", []
    if options.output is not None:
        content = Summary(title, rows, details=details).as_json()
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
        paths.append(write_bytes(options.output, text.encode(), overwrite=options.write.overwrite))
    return Summary(title, rows, paths, details=details, tables=evaluation_tables(found))


def evaluate(
    field: "FeatureField",
    scene: "Scene",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    extractor: "Extractor | None" = None,
    solvers: tuple[str, ...] = (),
    highlight: float = 0.1,
    cache: Path | None = None,
) -> Evaluation:
    """Every measurement that the scene has truth for, of a field as `measured_on` gives it."""
    from featurefields.evaluation.agreement import feature_agreement
    from featurefields.evaluation.colour import measure_colour
    from featurefields.evaluation.regions import scene_objects

    clicks, objects, held = read_clicks(scene), scene_objects(scene), scene.split("test")
    notes = _missing_truth(scene, objects)
    with console.progress("measuring held-out views", len(held)) as advance:
        colour = measure_colour(
            field, scene, objects, rasterizer=rasterizer, highlight=highlight, on_view=lambda: advance(1)
        )
    featured, why_not = featured_fields(
        field, scene, extractor, rasterizer, console, solvers=solvers, cache=cache
    )
    notes += why_not
    agreement = {}
    if extractor is not None and PLAIN in featured:
        diffuse, photo = (extracted_from(scene, extractor, layer, cache=cache) for layer in ("diffuse", None))
        with console.progress("comparing features", len(featured) * len(held)) as advance:
            for name, entry in featured.items():
                agreement[name] = feature_agreement(
                    entry, scene, objects, diffuse=diffuse, photo=photo, rasterizer=rasterizer,
                    on_view=lambda: advance(1),
                )  # fmt: skip
    results = {}
    if clicks and objects and featured:
        trial = ClickTrial.of(field, scene, clicks, objects, rasterizer=rasterizer)
        queries = clicked_in(featured)
        with console.progress("clicking objects", len(clicks) * len(queries)) as advance:
            for name, (entry, layer) in queries.items():
                results[name] = trial.measure(featured_as(entry, layer), lambda: advance(1))
    elif not clicks:
        notes.append("no clicks.json in the scene's folder: nothing is clicked")
    for note in notes:
        console.note(note)
    return Evaluation(colour, agreement, results, tuple(notes))


def featured_as(entry: "FeatureField", layer: str) -> "Callable[[Camera], FeatureField]":
    """The field with the features of a layer as a camera sees them; itself for "indep", which is what is clicked in."""
    if layer == "indep":
        return lambda camera: entry
    return lambda camera: with_features(entry, seen_features(entry, camera, layer))


def main_rows(found: Evaluation) -> dict[str, object]:
    """The few numbers that tell most, by label; only those that were measured."""
    wide, objects = found.colour.rows.region("everything"), found.colour.rows.region("objects")
    others = found.colour.rows.region("objects but metals")
    rows: dict[str, object] = {}
    if wide is not None:
        rows |= {"PSNR dB": wide.psnr_db, "SSIM": wide.ssim}
    if objects is not None:
        rows |= {"PSNR of objects dB": objects.psnr_db, "SSIM of objects": objects.ssim}
    best = objects or wide
    if best is not None:
        rows |= {
            "photo against diffuse dB": best.photo_as_diffuse_db,
            "indep against diffuse dB": best.indep_as_diffuse_db,
            "normal error deg": best.normal_deg,
            "roughness rank correlation": found.colour.roughness_rank,
            "reflective share": best.reflective_share,
            "highlight AP": best.highlight_ap,
            "highlight AP of chance": best.highlight_share,
        }
    if others is not None:
        rows |= {
            "highlight AP but metals": others.highlight_ap,
            "highlight AP of chance but metals": others.highlight_share,
        }
    kept = {label: value for label, value in rows.items() if value == value}
    for label, tables, number in (
        ("click mIoU", found.clicks, "iou"),
        ("click mIoU with best threshold", found.clicks, "oracle"),
        ("feature agreement indep", found.agreement, "indep"),
        ("feature agreement total", found.agreement, "total"),
    ):
        values = {
            name: getattr(table.region("objects") or table.regions[0], number)
            for name, table in tables.items()
        }
        if any(value == value for value in values.values()):
            kept[label] = {name: round(value, 4) for name, value in values.items()}
    return kept


def seen_rows(
    field: "FeatureField",
    scene: "Scene",
    rasterizer: "Rasterizer",
    console: Console,
    *,
    extractor: "Extractor | None" = None,
    cache: Path | None = None,
) -> dict[str, object]:
    """For a field that `ff lift` made: the same numbers over what the lifted views have seen; else nothing."""
    from featurefields.evaluation.covisible import measure_seen

    names = field.about.notes.get("context_views")
    known = [name for name in names if name in field.about.cameras] if isinstance(names, list | tuple) else []
    if not known:
        return {}
    same = extractor is not None and extractor.fingerprint == field.about.extractor
    photo = extracted_from(scene, extractor, None, cache=cache) if extractor is not None and same else None
    held = scene.split("test")
    with console.progress("measuring what lifted views have seen", len(held)) as advance:
        found = measure_seen(
            field, held, [field.about.cameras[name] for name in known], rasterizer=rasterizer,
            photo=photo or (lambda view: None), on_view=lambda: advance(1),
        )  # fmt: skip
    rows: dict[str, object] = {
        "share that lifted views have seen": found.share,
        "PSNR of it dB": found.psnr_db,
        "feature agreement of it": found.cosine,
    }
    return {label: value for label, value in rows.items() if value == value}


def _details(found: Evaluation) -> dict[str, object]:
    """Everything that was measured, JSON-able."""
    colour = asdict(found.colour.rows) | {"roughness_rank": found.colour.roughness_rank}
    agreement = {name: asdict(rows) for name, rows in found.agreement.items()}
    clicks = {name: asdict(rows) for name, rows in found.clicks.items()}
    return {"colour": colour, "agreement": agreement, "clicks": clicks, "notes": list(found.notes)}


def _missing_truth(scene: "Scene", objects: "Sequence[SceneObject]") -> list[str]:
    """What cannot be measured, and why."""
    picture = scene.split("test")[0].picture
    reasons = {
        "diffuse": "no diffuse pictures: matter, highlights and view-independent features are not compared",
        "normal": "no normals: those drawn are not compared",
        "roughness": "no roughness pictures: what is drawn is not compared",
    }
    missing = [reason for layer, reason in reasons.items() if picture.layer(layer) is None]
    return ([] if objects else ["no instance ids: objects are not told apart"]) + missing
