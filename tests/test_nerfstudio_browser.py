"""nerfstudio's viewer with our field in a real browser: the list of outputs, a click that selects, an edit that shows.

Needs playwright in the environment of nerfstudio (see `tiny_nerfstudio`) and a chromium that is installed.
"""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_fields import photograph
from tiny_nerfstudio import (
    INSTALLED,
    METHOD,
    NAME,
    PYTHON,
    command_line,
    environment,
    installed,
    needs_nerfstudio,
    ns,
    run_code,
    succeeded,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    needs_nerfstudio,
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium to look at the viewer with"),
    pytest.mark.skipif(INSTALLED and not installed("playwright"), reason=f"{PYTHON} has no playwright"),
]


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Port of an ns-viewer, and the folder of the run it shows."""
    folder = tmp_path_factory.mktemp("viewed")
    data = photograph(folder / "tiny")
    train = [METHOD, "--data", data, "--output-dir", folder, "--max-num-iterations 150 --vis tensorboard"]
    succeeded(ns("ns-train", *train, "--timestamp now --experiment-name v"))
    run = folder / "v" / NAME / "now"
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    words = command_line("ns-viewer", "--load-config", run / "config.yml", f"--viewer.websocket-port {port}")
    with (
        (folder / "told.txt").open("wb") as told,
        subprocess.Popen(words, env=environment(), stdout=told, stderr=told) as process,
    ):
        try:
            wait_for(port, process)
            yield port, run
        finally:
            process.send_signal(signal.SIGKILL)


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://localhost:{port}", timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            assert process.poll() is None, "the viewer has ended"
            time.sleep(0.5)
    raise AssertionError("the viewer does not answer")


def count(status: str) -> int:
    """Of "1,234 splats are selected"."""
    return int(status.split()[0].replace(",", ""))


def test_a_click_selects_and_an_edit_shows(viewer: tuple[int, Path], tmp_path: Path):
    port, run = viewer
    code = BROWSE.format(port=port, folder=str(tmp_path), chromium=CHROMIUM, x=420, y=700, settle=6)
    seen = json.loads(succeeded(run_code([str(PYTHON), "-c", code])).stdout.splitlines()[-1])
    ours = {
        "rgb",
        "rgb_indep",
        "rgb_dep",
        "normals",
        "roughness",
        "depth",
        "feature",
        "feature_indep",
        "feature_dep",
    }
    assert ours | {"similarity", "selected"} <= set(seen["outputs"]), seen
    assert seen["clicked"].endswith("splats are selected"), seen
    assert count(seen["strict"]) < count(seen["clicked"]), seen
    assert seen["found again"] == seen["undone"] == seen["clicked"], seen
    assert seen["edited"] == "recolour: done" and seen["edit undone"] == "edits left: 0", seen
    assert seen["saved"].startswith("wrote field.safetensors, base.safetensors, edits.json"), seen
    assert (run / "saved" / "field.safetensors").is_file()
    if "FF_PICTURES" in os.environ:
        shutil.copytree(tmp_path, os.environ["FF_PICTURES"], dirs_exist_ok=True)
    before, selected, edited = (
        np.asarray(Image.open(io.BytesIO((tmp_path / f"{name}.png").read_bytes())).convert("RGB"), float)
        for name in ("before", "selected", "edited")
    )
    assert (np.abs(selected - before).max(-1) > 20).mean() > 0.01, "what is selected is not shown"
    assert (np.abs(edited - before).max(-1) > 20).mean() > 0.01, "the edit is not shown"


BROWSE = """
import json, time
from playwright.sync_api import sync_playwright
SELECTED = "splats are selected"
with sync_playwright() as play:
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    browser = play.chromium.launch(executable_path="{chromium}", args=flags)
    page = browser.new_page(viewport=dict(width=1200, height=1300))
    page.set_default_timeout(300_000)
    page.goto("http://localhost:{port}")
    selects = page.locator("input.mantine-Select-input")
    status = lambda: page.locator("input:visible").last.input_value()
    seen = dict()

    def until(met, seconds=300):
        end = time.monotonic() + seconds
        while not met():
            assert time.monotonic() < end, "waited in vain; status: " + status() + " " + json.dumps(seen)
            time.sleep(0.3)

    def shot(name):
        time.sleep({settle})
        page.screenshot(path="{folder}/" + name + ".png", clip=dict(x=0, y=60, width=850, height=1200))

    def options(which):
        until(lambda: selects.count() > which)
        selects.nth(which).click()
        until(lambda: any(one.is_visible() for one in page.locator("[role=option]").all()))
        return [one for one in page.locator("[role=option]").all() if one.is_visible()]

    def choose(which, name):
        next(one for one in options(which) if one.inner_text() == name).click()

    def beside(label, what):
        return page.locator(f"xpath=//*[contains(text(), '{{label}}')]/ancestor::*[.//{{what}}][1]//{{what}}").first

    def press(name, changed=True):
        before = status()
        page.get_by_role("button", name=name, exact=True).last.click()
        if changed:
            until(lambda: status() != before)
        return status()

    def click(x, y):
        press("Select")
        until(lambda: status().startswith("click on"))
        time.sleep(1)
        page.mouse.click(x, y)
        until(lambda: not status().startswith("click on"))
        return status()

    def threshold(key):
        before = status()
        beside("Threshold", "*[@role='slider']").focus()
        page.keyboard.press(key)
        until(lambda: status() != before)
        return status()

    until(lambda: selects.count() > 3 and selects.nth(0).input_value() == "rgb")
    seen["outputs"] = [one.inner_text() for one in options(0)]
    page.keyboard.press("Escape")
    shot("before")
    seen["clicked"] = click({x}, {y})
    choose(0, "selected")
    shot("selected")
    seen["strict"] = threshold("End")
    seen["found again"] = threshold("Home")
    beside("Negative", "input[@type='checkbox']").click()
    seen["negative"] = click({x} + 260, {y} + 40)
    seen["undone"] = press("Undo click") if seen["negative"] != seen["clicked"] else press("Undo click", False)
    beside("Negative", "input[@type='checkbox']").click()
    choose(0, "rgb")
    edits = next(i for i in range(selects.count()) if selects.nth(i).input_value() == "remove reflections")
    choose(edits, "recolour")
    seen["edited"] = press("Apply to selection")
    shot("edited")
    seen["edit undone"] = press("Undo edit")
    press("Apply to selection")
    seen["saved"] = press("Save")
    print(json.dumps(seen))
    browser.close()
"""
