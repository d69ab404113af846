"""`ff view`: the web viewer."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from featurefields.errors import PromptError

from .console import Console, Summary
from .edit_folder import open_edited, sha256_of
from .features import FeatureOptions, find_extractor
from .inputs import FIELD_FILE, existing
from .options import ComputeOptions, OptionalName, OptionalPath, ReportOptions
from .photos import scene_of
from .sources import Source, segmentable
from .view_exports import CommandExports, Report, Told

if TYPE_CHECKING:
    from featurefields.field import FeatureField
    from featurefields.viewer.app import Viewer
    from featurefields.viewer.opened import Opened

LOOPBACK = "127.0.0.1"
LIFTED_KEYS = ("splat_id", "lifted_for")


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """See, select and edit in a browser.

    What is done is saved at once, in a folder beside the field, and is there again the next time. The same files can be
    replayed: `ff segment FIELD --session session.json`, `ff edit FIELD --script edits.json`.
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name="field", metavar="FIELD")]
    """A folder that `ff fit` or `ff edit` wrote, a .safetensors archive, or any 3DGS .ply (see --data)."""
    session: OptionalPath = None
    """Folder where the work is saved; by default beside FIELD."""
    data: OptionalPath = None
    """Folder of the photos, when it is not where the field was fitted; a .ply is given features from them."""
    transform: OptionalPath = None
    """JSON file that says where a .ply is, when that cannot be found out."""
    host: str = LOOPBACK
    """Address to listen on. From others than this machine's own, browsers need a token."""
    port: int = 8080
    """Port, or the next free one."""
    token: OptionalName = None
    """What browsers have to know; made up when --host is not of this machine only."""
    splats: bool = True
    """Browsers draw splats themselves while they move; --no-splats is for slow graphics."""
    size: int = 768
    """Pixels of the longer side of sharp pictures, at first."""
    lifting: tyro.conf.OmitArgPrefixes[FeatureOptions] = field(default_factory=FeatureOptions)
    compute: tyro.conf.OmitArgPrefixes[ComputeOptions] = ComputeOptions()
    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: ViewOptions, console: Console) -> Summary:
    """Serve until it is interrupted."""
    viewer = start(options, console)
    console.note(f"open {viewer.url} (Ctrl-C ends)")
    try:
        viewer.wait_until_open()
        console.note(f"the work is saved in {viewer.folder}")
        viewer.wait()
    except KeyboardInterrupt:
        console.note("ending")
    finally:
        viewer.stop()
    document = viewer.document
    rows = {
        "steps of the session": len(document.session.steps),
        "kept": list(document.session.kept),
        "edits": [step.words for step in document.edits.history.done],
        "url": viewer.url,
    }
    return Summary(f"viewed {options.source}", rows, [viewer.folder], _next(options, viewer))


def start(options: ViewOptions, console: Console) -> "Viewer":
    """A viewer that listens already and opens the field meanwhile."""
    from featurefields.viewer.app import Viewer, ViewerConfig
    from featurefields.viewer.serving import is_loopback, new_token

    existing(options.source)
    if not 16 <= options.size <= 4096:
        raise PromptError(f"--size is from 16 to 4096 pixels, got {options.size}")
    if not 0 <= options.port <= 65535:
        raise PromptError(f"--port is from 0 (any) to 65535, got {options.port}")
    token = options.token if options.token is not None else "" if is_loopback(options.host) else new_token()
    if not token and not is_loopback(options.host):
        raise PromptError(f"--host {options.host} can be reached by others, so --token must not be empty")
    config = ViewerConfig(
        host=options.host, port=options.port, token=token, splats=options.splats, longest=options.size
    )
    return Viewer(config, lambda progress: opened(options, console, progress), label=options.source.name)


def opened(options: ViewOptions, console: Console, progress: Report) -> "Opened":
    """The field with everything that the viewer needs. Raises what reading it raises."""
    from featurefields.editing.scripts import Base
    from featurefields.segmentation.prompts import TextTower
    from featurefields.viewer.autosave import check_writable, default_folder
    from featurefields.viewer.opened import Opened

    told = Told(report=progress)
    progress("reading the field", 0.02)
    archive, found = _field(options, told)
    field_id = found.fingerprint()
    folder = options.session or default_folder(options.source, field_id)
    check_writable(folder)
    progress("looking for photos", 0.9)
    scene = scene_of(found, options.data, console) if found.about.cameras else None
    text = None
    if found.about.extractor and options.lifting.features not in ("auto", "none"):
        extractor = find_extractor(options.lifting.features, options.compute.torch_device(), console)
        text = extractor if isinstance(extractor, TextTower) else None
    return Opened(
        field=found,
        base=Base(archive.name, sha256_of(archive), field_id, len(found)),
        folder=folder,
        rasterizer=options.compute.rasterizer(),
        exports=CommandExports(archive, options.data, options.compute),
        scene=scene,
        text=text,
        device=options.compute.torch_device(),
    )


def _field(options: ViewOptions, console: Told) -> "tuple[Path, FeatureField]":
    """The file that edits begin with, and the field in it; a .ply with photos is given features once."""
    from featurefields.viewer.autosave import check_writable, default_folder

    if options.source.suffix.lower() != ".ply" or options.data is None:
        found = open_edited(options.source)
        if not found.history.done:
            return found.path, found.base
        return options.source / FIELD_FILE, found.edited.field
    from featurefields.files.archive import read_archive, write_archive
    from featurefields.files.ply import read_ply

    splat_id = read_ply(options.source).fingerprint()
    folder = options.session or default_folder(options.source, splat_id)
    check_writable(folder)
    archive = folder / FIELD_FILE
    wanted = f"{options.lifting!r} {options.data.resolve()}"
    if archive.exists():
        kept = read_archive(archive)
        if [kept.about.notes.get(key) for key in LIFTED_KEYS] == [splat_id, wanted]:
            return archive, kept
    source = Source(
        path=options.source, splat=True, data=options.data, transform=options.transform, lifting=options.lifting,
        compute=options.compute,
    )  # fmt: skip
    field, _ = segmentable(source, options.compute.rasterizer(), replace(console, share=0.8))
    notes = {**field.about.notes, "splat_id": splat_id, "lifted_for": wanted}
    field = replace(field, about=replace(field.about, notes=notes))
    write_archive(field, archive, overwrite=True)
    return archive, read_archive(archive)


def _next(options: ViewOptions, viewer: "Viewer") -> list[str]:
    """Commands that do the same again."""
    from featurefields.viewer.autosave import EDITS, SESSION

    source = (
        viewer.folder / FIELD_FILE
        if options.source.suffix.lower() == ".ply" and options.data
        else options.source
    )
    found = []
    if viewer.document.session.steps:
        found.append(f"ff segment {source} --session {viewer.folder / SESSION} -o selected")
    if viewer.document.edits.history.done:
        found.append(f"ff edit {source} --script {viewer.folder / EDITS} -o edited.ply")
    return found
