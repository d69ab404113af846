"""Data that ships with featurefields (installed as `featurefields_assets`)."""

from pathlib import Path


def demo_scene() -> Path:
    """Folder of the demo scene: a nerfstudio `transforms.json`, photos, ground truth, clicks."""
    return Path(__file__).parent / "demo_scene"


def lifter_weights() -> Path:
    """File of the weights that `ff train-lifter` made, with their record beside it (see docs/lifter.md)."""
    return Path(__file__).parent / "lifter" / "lifter.safetensors"
