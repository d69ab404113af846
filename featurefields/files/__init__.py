"""What is written and read back: fields, selections, checkpoints (safetensors), standard splat PLY files."""

from featurefields.files.archive import read_archive, write_archive
from featurefields.files.container import read_container, read_header, write_container
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import read_selection, write_selection

__all__ = [
    "read_archive",
    "read_container",
    "read_header",
    "read_ply",
    "read_selection",
    "write_archive",
    "write_container",
    "write_ply",
    "write_selection",
]
