"""The trained network as an ordinary folder of the transformers library."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from featurefields.atomic import refuse_existing
from featurefields.distillation.student import Backbone, merged
from featurefields.errors import WriteError
from featurefields.vision.transformers_backbone import load_backbone, save_backbone

NOTES = "distillation.json"


def export_backbone(
    student: Backbone,
    folder: Path,
    *,
    notes: Mapping[str, object] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the student, its additions merged, as config.json and safetensors that any user of transformers loads.

    It is read back before it takes its place: no weight may be missing, left over or changed, and a picture must give
    identical features. `notes` go into distillation.json.

    Raises:
        WriteError: the folder exists, the system refused, or what was read back differs.
    """
    refuse_existing(folder, overwrite)
    plain = merged(student)
    plain.model.cpu()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise WriteError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        save_backbone(plain, temporary)  # type: ignore[arg-type]
        (temporary / NOTES).write_text(json.dumps(dict(notes or {}), indent=1) + "\n", encoding="utf-8")
        check_export(plain, temporary)
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        raise WriteError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


@torch.no_grad()
def check_export(plain: Backbone, folder: Path) -> None:
    """Raise `WriteError` when what is in `folder` is not exactly `plain`."""
    loaded = load_backbone(str(folder))
    kept, found = plain.model.state_dict(), loaded.model.state_dict()
    different = sorted(set(kept) ^ set(found))
    different += [name for name in kept if name in found and not torch.equal(kept[name], found[name])]
    if different:
        raise WriteError(
            f"the weights in {folder} are not those that were trained: {len(different)} differ, such as {different[0]}"
        )
    picture = torch.rand(1, 3, 4 * plain.stride, 5 * plain.stride, generator=torch.Generator().manual_seed(0))
    if not torch.equal(loaded(picture), plain(picture)):
        raise WriteError(f"the network in {folder} gives other features than the one that was trained")
