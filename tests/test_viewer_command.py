"""`ff view` without a browser: opening, exporting, going on, refusing."""

import json
import time
from pathlib import Path

import pytest
from tiny_fields import looking, photograph, pixel_of, two_balls

from featurefields.editing.edits import RemoveSpecular
from featurefields.errors import FeatureFieldsError, PromptError, UnavailableError
from featurefields.files.archive import write_archive
from featurefields.files.ply import read_ply, write_ply
from featurefields.segmentation.prompts import Click
from featurefields.viewer.app import Viewer
from featurefields.viewer.autosave import EDITS, SESSION
from featurefields_cli.console import Console
from featurefields_cli.main import main
from featurefields_cli.view import ViewOptions, start

VIEW = looking((3.0, 0.0, 1.6))
QUIET = Console(json=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a field and its photos."""
    folder = tmp_path_factory.mktemp("viewed")
    photograph(folder / "photos")
    write_archive(two_balls(gloss=1.0), folder / "field.safetensors")
    return folder


def click(name: str) -> Click:
    x, y = pixel_of(two_balls(), VIEW, name)
    return Click(x + 0.5, y + 0.5, VIEW)


def run(viewer: Viewer, job) -> None:
    """Do something in the viewer's thread and wait for it."""
    failures: list = []

    def guarded() -> None:
        try:
            job()
        except Exception as error:
            failures.append(error)

    viewer.worker.do(guarded)
    assert viewer.worker.settle(60.0)
    assert not failures, failures


def opened(scene: Path, folder: Path, **changes) -> Viewer:
    options = ViewOptions(
        **{"source": scene, "session": folder, "port": 0, "data": scene / "photos", **changes}
    )
    viewer = start(options, QUIET)
    assert viewer.wait_until_open(120.0)
    return viewer


def test_exports_are_the_files_of_the_command_line(scene: Path, tmp_path: Path, capsys):
    viewer = opened(scene, tmp_path / "work")
    document = viewer.document
    try:
        run(viewer, lambda: document.prompt(click("red")))
        run(viewer, lambda: document.keep("red ball"))
        run(viewer, lambda: document.edit(RemoveSpecular(), "red ball"))
        run(viewer, viewer.save)
        told: list = []
        selection = document.session.kept["red ball"].selection
        ply, part = tmp_path / "edited.ply", tmp_path / "object.ply"
        viewer.exports.edited_ply(
            document.base, document.edits.edited.field, ply, lambda *line: told.append(line)
        )
        viewer.exports.object_ply(document.base, selection.mask, part, lambda *line: None)
        masks = viewer.exports.masks(
            document.base, {"red ball": selection}, tmp_path / "m", lambda *line: None
        )
        assert told and all(0 <= share < 1 for _, share in told)
        assert all(path.exists() for path in masks) and len(masks) > 5
    finally:
        viewer.stop()
    session, script = tmp_path / "work" / SESSION, tmp_path / "work" / EDITS
    commands = [
        ["edit", scene, "--script", script, "-o", tmp_path / "by_script.ply"],
        ["edit", scene, "--session", session, "--selection", "red ball", "--remove-specular",
         "-o", tmp_path / "by_name.ply"],
        ["segment", scene, "--session", session, "-o", tmp_path / "picked.ply"],
    ]  # fmt: skip
    for command in commands:
        assert main([*map(str, command), "--json"]) == 0
    capsys.readouterr()
    assert (
        ply.read_bytes()
        == (tmp_path / "by_script.ply").read_bytes()
        == (tmp_path / "by_name.ply").read_bytes()
    )
    assert part.read_bytes() == (tmp_path / "picked.ply").read_bytes()
    assert len(read_ply(part)) == selection.count


def test_work_goes_on_where_it_was(scene: Path, tmp_path: Path):
    first = opened(scene, tmp_path)
    run(first, lambda: first.act_alone(lambda: first.document.prompt(click("blue"))))
    first.stop()  # nothing was saved by hand
    again = opened(scene, tmp_path)
    try:
        assert len(again.document.session.steps) == 1 and again.document.undo() is not None
    finally:
        again.stop()


def test_a_ply_with_photos_is_given_features_once(scene: Path, tmp_path: Path):
    photos = scene / "photos"
    field = two_balls("harmonics")
    ply = write_ply(field.splats, tmp_path / "balls.ply")
    began = time.monotonic()
    viewer = opened(ply, tmp_path / "work", data=photos)
    took = time.monotonic() - began
    assert "feature" in viewer.document.base.heads and viewer.document.base.about.cameras
    viewer.stop()
    began = time.monotonic()
    again = opened(ply, tmp_path / "work", data=photos)
    assert time.monotonic() - began < max(took, 3.0)
    again.stop()
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [
        "edits.json", "field.safetensors", "session.json", "view.json",
    ]  # fmt: skip


def test_what_cannot_be_opened_is_told(tmp_path: Path, scene: Path):
    (tmp_path / "field.safetensors").write_bytes(b"no field")
    viewer = start(ViewOptions(source=tmp_path, session=tmp_path / "w", port=0), QUIET)
    try:
        with pytest.raises(FeatureFieldsError):
            viewer.wait_until_open(60.0)
    finally:
        viewer.stop()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"source": Path("nowhere")}, FeatureFieldsError, "does not exist"),
        ({"size": 5}, PromptError, "--size"),
        ({"port": 99999}, PromptError, "--port"),
        ({"host": "0.0.0.0", "token": ""}, PromptError, "--token"),
        ({"host": "192.0.2.1"}, UnavailableError, "cannot listen"),
    ],
)
def test_what_cannot_work_is_refused_at_once(scene: Path, changes: dict, error: type, words: str):
    with pytest.raises(error, match=words):
        start(ViewOptions(**{"source": scene, "port": 0, **changes}), QUIET)


def test_other_hosts_need_a_token(scene: Path, tmp_path: Path):
    import http.client

    viewer = start(ViewOptions(source=scene, session=tmp_path, port=0, host="0.0.0.0"), QUIET)
    try:
        assert len(viewer.config.token) >= 20 and viewer.config.token in viewer.url
        port = viewer.server.get_port()
        for target, status in (("/", 403), (f"/?token={viewer.config.token}", 200)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", target)
            assert connection.getresponse().status == status
            connection.close()
        viewer.wait_until_open(60.0)
    finally:
        viewer.stop()


def test_saved_files_are_plain_json(scene: Path, tmp_path: Path):
    viewer = opened(scene, tmp_path)
    viewer.stop()
    for path in tmp_path.glob("*.json"):
        json.loads(path.read_text())
