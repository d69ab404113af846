"""3D feature fields on Gaussian splats: fit, lift, segment, edit, export.

Importing the package is cheap: names are resolved on first use (PEP 562), so that `ff --help` never
waits for torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Camera": "featurefields.camera",
    "FeatureField": "featurefields.field",
    "FeatureFieldsError": "featurefields.errors",
    "Scene": "featurefields.scene",
    "Splats": "featurefields.splats",
    "View": "featurefields.scene",
    "read_archive": "featurefields.files.archive",
    "read_ply": "featurefields.files.ply",
    "read_scene": "featurefields.readers",
    "render": "featurefields.field",
    "write_archive": "featurefields.files.archive",
    "write_ply": "featurefields.files.ply",
}

__all__ = ["__version__", *sorted(_EXPORTS)]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'featurefields' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
