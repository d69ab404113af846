"""nerfstudio's own data parsers, for folders in which photos are missing."""

from pathlib import Path
from typing import Any

from nerfstudio.data.dataparsers.colmap_dataparser import ColmapDataParser, ColmapDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import Nerfstudio, NerfstudioDataParserConfig

from featurefields.errors import SceneError
from featurefields.foreign_json import parsed


class PatientNerfstudio(Nerfstudio):
    """Decides by the first photo that exists how much photos are reduced, where the original opens the first listed."""

    config: NerfstudioDataParserConfig

    def _generate_dataparser_outputs(self, split: str = "train"):  # type: ignore[no-untyped-def]
        if self.downscale_factor is None and self.config.downscale_factor is None:
            folder, listed = listed_photos(self.config.data)
            found = next((photo for photo in listed if (folder / photo).is_file()), None)
            if found is None:
                raise SceneError(
                    f"none of the {len(listed)} photos that {self.config.data} lists exists; copy the photos beside it"
                )
            self._get_fname(found, folder)
        return super()._generate_dataparser_outputs(split)


class PatientColmap(ColmapDataParser):
    """Takes the photos as they are, where the original opens the first listed to find out whether they are large, and
    then asks whether to write smaller copies: photos are reduced when they are read."""

    config: ColmapDataParserConfig

    def __init__(self, config: ColmapDataParserConfig) -> None:
        super().__init__(config)
        self._downscale_factor = 1 if config.downscale_factor is None else None


def listed_photos(data: Path) -> tuple[Path, list[Path]]:
    """The folder and the photos that a transforms.json (or the one in a folder) lists.

    Raises:
        SceneError: there is none, or it is no list of photos.
    """
    path = data if data.suffix == ".json" else data / "transforms.json"
    try:
        frames = parsed(path.read_text(encoding="utf-8"))["frames"]
        return path.parent, [Path(frame["file_path"]) for frame in frames]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SceneError(
            f"{path} cannot be read as nerfstudio's transforms.json ({type(error).__name__}: {error}); give --data the "
            "scene's folder, or name another data parser behind all other options"
        ) from error


PATIENT = {Nerfstudio: PatientNerfstudio, ColmapDataParser: PatientColmap}


def make_patient(config: Any) -> None:
    """Let these two be patient; any other parser's configuration stays as it is."""
    config._target = PATIENT.get(config._target, config._target)
