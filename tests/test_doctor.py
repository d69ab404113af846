"""ff doctor: what it finds here, and what it says where things are broken."""

import json

import pytest
from packaging.requirements import Requirement

from featurefields.errors import UnavailableError
from featurefields_cli import examinations, main
from featurefields_cli.examinations import GROUPS, Finding


def test_it_tells_about_every_group_and_leaves_with_0_here(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    groups = {finding["group"] for finding in told["findings"].values()}
    assert groups == set(GROUPS)
    assert told["findings"]["cpu"]["state"] == "ok" and told["findings"]["torch"]["found"]
    assert told["works"] >= 10 and told["broken"] == 0
    for finding in told["findings"].values():
        assert finding["state"] == "ok" or finding["do"], "what is not there comes with what to do"


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert "everything that ff needs works here" in told and "what to do" in told and "gsplat" in told


def test_a_package_that_is_missing_or_old_is_broken_with_the_command_that_mends_it():
    missing = examinations._package("no-such-package", Requirement("no-such-package>=2"))
    assert missing.state == "broken" and missing.remedy == "pip install 'no-such-package>=2'"
    old = examinations._package("numpy", Requirement("numpy>=99"))
    assert old.state == "broken" and "needs >=99" in old.found


def test_what_nothing_works_without_ends_in_1_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    bad = Finding("drawing", "cpu", "broken", "cannot draw: no", "reinstall numba")
    monkeypatch.setattr(examinations, "EXAMINATIONS", (lambda: [bad],))
    assert main(["doctor"]) == 1
    told = capsys.readouterr()
    assert "error: cpu is broken: cannot draw: no; reinstall numba" in told.err
    assert "broken" in told.out


def test_a_backend_that_fails_or_draws_nonsense_is_found(monkeypatch: pytest.MonkeyPatch):
    assert examinations._backend("cpu").state == "ok"
    monkeypatch.setattr(examinations, "_drawn_coverage", lambda rasterizer, device: 0.2)
    assert examinations._backend("cpu").state == "broken"
    assert examinations._backend("reference").state == "absent"

    def fails(rasterizer: object, device: str) -> float:
        raise RuntimeError("kernel\nlost")

    monkeypatch.setattr(examinations, "_drawn_coverage", fails)
    assert "cannot draw: kernel lost" in examinations._backend("cpu").found


def test_a_backend_that_is_not_there_says_why(monkeypatch: pytest.MonkeyPatch):
    def absent(name: str) -> None:
        raise UnavailableError("gsplat is not installed; pip install 'featurefields[cuda]'")

    monkeypatch.setattr("featurefields.raster.choose_rasterizer", absent)
    found = examinations._backend("gsplat")
    assert found.state == "absent" and "pip install" in found.found


def test_a_cache_that_cannot_be_written_comes_with_another_choice(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.access", lambda place, mode: False)
    found = examinations.disk()[0]
    assert found.state == "absent" and "FF_CACHE" in found.remedy
