"""The blender scenes of NeRF: transforms_train.json, transforms_test.json and RGBA renderings."""

from pathlib import Path

from featurefields.errors import SceneError
from featurefields.readers.capture import Capture, Shot
from featurefields.readers.files import find_photo, shown_name
from featurefields.readers.intrinsics import lens_of
from featurefields.readers.nerfstudio import refuse_repeated
from featurefields.readers.pose import rigid_pose
from featurefields.readers.record import read_record


def read_blender(path: Path, *, points: bool = True) -> Capture:
    """The photos of such a folder: train from transforms_train.json, held out from transforms_test.json.

    transforms_val.json stands in when there is no transforms_test.json. The format has no seed points.

    Raises:
        SceneError: broken JSON, a wrong value, an unusable pose, no photo left; the message names the frame.
    """
    folder = path.parent if path.is_file() else path
    held = next((name for name in ("test", "val") if (folder / f"transforms_{name}.json").is_file()), None)
    shots: list[Shot] = []
    missing: list[str] = []
    for name in ["train", *([held] if held else [])]:
        for frame in read_record(folder / f"transforms_{name}.json").records("frames"):
            photo_name = frame.text("file_path")
            if photo_name is None:
                raise SceneError(f"{frame.where}: file_path is missing; name the photo or remove this frame")
            photo = find_photo(folder, photo_name)
            if photo is None:
                missing.append(photo_name)
                continue
            pose = rigid_pose(frame.values.get("transform_matrix"), frame.where, opengl=True)
            split = "train" if name == "train" else "test"
            shots.append(Shot(shown_name(folder, photo), photo, lens_of(frame, photo), pose, split))
    if not shots:
        example = f" (for example '{missing[0]}')" if missing else ""
        raise SceneError(
            f"no usable photo in {folder}: {len(missing)} listed ones do not exist{example}; copy them there"
        )
    refuse_repeated(shots, folder / "transforms_train.json")
    return Capture(tuple(shots), None, tuple(missing))
