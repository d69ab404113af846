"""The viewer in a real browser: the whole job, by mouse and keys.

FF_BROWSER=1 asks for it; it needs playwright and a chromium that is installed.
"""

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_fields import pixel_of, two_balls

from benchmarks.viewer.seat import Seat, chromium, chromium_path, until
from featurefields.files.archive import write_archive
from featurefields.viewer.app import Viewer
from featurefields.viewer.autosave import EDITS, EXPORTS, SESSION
from featurefields_cli.console import Console
from featurefields_cli.main import main
from featurefields_cli.view import ViewOptions, start

WINDOW = (720, 330)
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("FF_BROWSER", "") in ("", "0"), reason="set FF_BROWSER=1 to drive a browser"
    ),
    pytest.mark.skipif(chromium_path() is None, reason="there is no chromium to open the viewer in"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of viser and websockets, in their threads
]


@pytest.fixture(scope="module")
def field_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("viewed")
    write_archive(two_balls(gloss=1.0), folder / "field.safetensors")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


def on(seat: Seat, name: str) -> tuple[float, float]:
    """Where a part of the scene is in the window."""
    camera = seat.browser.pose.camera(96)
    x, y = pixel_of(two_balls(), camera, name)
    return seat.place((x + 0.5) / camera.width, (y + 0.5) / camera.height)


@pytest.fixture
def viewer(field_folder: Path, tmp_path: Path) -> Iterator[Viewer]:
    options = ViewOptions(source=field_folder, session=tmp_path / "work", port=0, splats=False, size=256)
    found = start(options, Console(json=True))
    yield found
    assert found.errors == 0
    found.stop()


def test_the_whole_job(viewer: Viewer, browser: Any, field_folder: Path, tmp_path: Path, capsys):
    """Click, take away, name, edit, undo, redo, export; the files are those of the command line."""
    seat = Seat(viewer, browser, WINDOW)
    document = viewer.document
    seat.page.mouse.click(*on(seat, "red"))
    until(lambda: len(document.session.steps) == 1)
    seat.page.mouse.click(
        *seat.place(0.5, 0.7), button="right"
    )  # the floor; viser has something in the corners
    until(lambda: len(document.session.steps) == 2)
    assert [prompt.positive for prompt in document.session.prompts] == [True, False]
    seat.type("object", "red ball")
    until(lambda: seat.panel.select.name == "red ball")
    seat.button("Keep selection")
    until(lambda: "red ball" in document.session.kept)
    seat.steady()
    before = seat.screen()
    seat.tab("Edit")
    seat.button("Try")
    until(lambda: document.edits.tried is not None)
    assert document.edits.history.cursor == 0 and document.edits.tried.name == "red ball"
    seat.button("Apply")
    until(lambda: document.edits.history.cursor == 1)
    seat.button("Undo")
    until(lambda: document.edits.history.cursor == 0)
    seat.button("Redo")
    until(lambda: document.edits.history.cursor == 1)
    seat.page.keyboard.press("m")
    seat.steady()
    assert np.abs(seat.screen()[:, :400] - before[:, :400]).max() > 20
    seat.tab("Output")
    seat.button("Edited scene (.ply)")
    target = viewer.folder / EXPORTS / "edited.ply"
    until(target.exists)
    until(lambda: "wrote edited.ply" in seat.panel.message)
    for name, words in {
        "by_script": ["--script", viewer.folder / EDITS],
        "by_name": ["--session", viewer.folder / SESSION, "--selection", "red ball", "--remove-specular"],
    }.items():
        output = tmp_path / f"{name}.ply"
        assert main([*map(str, ["edit", field_folder, *words, "-o", output]), "--json"]) == 0
        assert output.read_bytes() == target.read_bytes(), name
    capsys.readouterr()
    assert not seat.errors
    seat.page.close()


def test_tools_keys_and_two_browsers(viewer: Viewer, browser: Any):
    """Boxes, strokes, lassos and keys; what one browser does, the other sees; closing it leaves nothing behind."""
    one, other = Seat(viewer, browser, WINDOW), Seat(viewer, browser, WINDOW)
    document, page = viewer.document, one.page
    (x, y), reach = on(one, "blue"), 30
    for key, kind in {"b": "box", "f": "scribble", "g": "mask"}.items():
        page.bring_to_front()
        page.keyboard.press(key)
        tool = {"box": "box", "scribble": "stroke", "mask": "lasso"}[kind]
        until(lambda tool=tool: page.evaluate("window.featurefields.state().tool") == tool)
        pose = one.browser.pose
        page.mouse.move(x - reach, y - reach)
        page.mouse.down()
        for dx, dy in ((reach, -reach), (reach, reach), (-reach, reach)):
            page.mouse.move(x + dx, y + dy, steps=3)
        page.mouse.move(x + reach, y + reach) if kind == "box" else None
        page.mouse.up()
        until(lambda: len(document.session.steps) == 1)
        assert document.session.prompts[0].kind == kind and one.browser.pose == pose
        one.steady()
        other.steady()
        assert other.browser.last is not None and other.browser.last.version == viewer.stage.version
        page.keyboard.press("z")
        until(lambda: not document.session.steps)
    page.keyboard.press("c")
    page.keyboard.press("p")
    until(lambda: one.browser.view.shows == "split")
    assert other.browser.view.shows == "edited"
    page.keyboard.press("l")
    until(lambda: one.browser.view.layer != "colour")
    page.keyboard.press("]")
    until(lambda: viewer.stage.photo_at(one.browser.pose) == viewer.stage.photos[1])
    one.steady()
    number = other.number
    other.page.close()
    until(lambda: number not in viewer.browsers)
    assert not one.errors and not other.errors
    page.close()


def test_hurried_moves_and_clicks_leave_no_stale_picture(viewer: Viewer, browser: Any):
    seat = Seat(viewer, browser, WINDOW)
    generator = np.random.default_rng(3)
    x, y = seat.place(0.5, 0.5)
    for number in range(10):
        seat.page.mouse.move(x, y)
        seat.page.mouse.down()
        dx, dy = generator.uniform(-60, 60, 2)
        seat.page.mouse.move(x + dx, y + 0.3 * dy)
        seat.page.mouse.up()
        if number % 3 != 2:
            seat.page.mouse.click(x + dx / 3, y + 20)
    seat.steady()
    shown = seat.browser.last
    assert shown is not None and shown.pose == seat.browser.pose and shown.version == viewer.stage.version
    until(seat.shows_what_it_should, 30.0, 0.2)
    assert viewer.errors == 0 and not seat.errors
    seat.page.close()


def test_cameras_are_shown_but_not_the_one_stood_in(viewer: Viewer, browser: Any):
    """Its picture would hide the sharp one; and the status says what to do, not what was read."""
    seat = Seat(viewer, browser, WINDOW)
    seat.page.keyboard.press("u")
    shown = viewer._frustums._shown  # type: ignore[union-attr]
    until(lambda: shown.get(seat.number))
    seat.steady()
    handles = {
        name: handle for name, (handle, _) in zip(viewer.stage.photos, shown[seat.number], strict=True)
    }

    def hidden() -> list[str]:
        return [name for name, handle in handles.items() if not handle.visible]

    assert seat.panel.message.startswith("click on a camera") and seat.browser.view.tool == "move"
    for _ in range(2):
        seat.page.keyboard.press("]")
        until(lambda: hidden() == [viewer.stage.photo_at(seat.browser.pose)])
        seat.steady()
        until(seat.shows_what_it_should, 30.0, 0.2)
    seat.page.keyboard.press("u")
    until(lambda: len(hidden()) == len(handles))
    assert not seat.errors
    seat.page.close()


def test_a_jump_shows_no_splats_on_the_way(field_folder: Path, tmp_path: Path, browser: Any):
    """Drawing them takes a moment, in which there would be nothing; turning by hand does show them."""
    if version("viser").startswith("0."):
        pytest.skip("pages of viser before 1.0 tell of a jump in parts, as of a movement")
    options = ViewOptions(source=field_folder, session=tmp_path / "jumps", port=0, size=256)
    viewer = start(options, Console(json=True))
    seat = Seat(viewer, browser, WINDOW)
    until(lambda: seat.browser._splats is not None)
    shown: list[str] = []
    show = seat.browser._show_splats
    seat.browser._show_splats = lambda: (shown.append("splats"), show())  # type: ignore[method-assign]
    for photo in viewer.stage.photos[1:3]:
        seat.page.keyboard.press("]")
        until(lambda photo=photo: viewer.stage.photo_at(seat.browser.pose) == photo)
        seat.steady()
    assert not shown
    seat.drag(seat.place(0.5, 0.5), (40.0, 0.0))
    until(lambda: shown)
    seat.steady()
    assert not seat.errors and viewer.errors == 0
    seat.page.close()
    viewer.stop()
