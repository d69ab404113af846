"""Many scenes with one command: what is done stays done, what failed is told, whatever runs it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_fields import photograph

from featurefields.errors import FileFormatError, FittingError, SceneError
from featurefields.files.archive import read_archive
from featurefields_cli import batch_jobs, main
from featurefields_cli.batch_jobs import (
    FF,
    BatchState,
    Job,
    Outcome,
    job_of,
    local_outcomes,
    run_job,
    scenes_of,
)

DONE = Outcome("done", 1.5, facts={"title": "ok"})


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Jobs that were run, in the place of running them; scenes called bad fail."""
    jobs: list[Job] = []

    def instead(job: Job) -> Outcome:
        jobs.append(job)
        return Outcome("failed", 0.1, error="no photos") if "bad" in job.scene else DONE

    monkeypatch.setattr(batch_jobs, "run_job", instead)
    return jobs


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Three folders, and a list of them."""
    for name in ("one", "bad", "two"):
        (tmp_path / "captures" / name).mkdir(parents=True)
    (tmp_path / "captures" / "list.txt").write_text("two\n# not this\none  # but this\n\nbad\n")
    return tmp_path / "captures"


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict]:
    code = main(["batch", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_scenes_from_a_list_and_from_a_pattern(captures: Path) -> None:
    assert list(scenes_of(str(captures / "list.txt"))) == ["two", "one", "bad"]
    assert list(scenes_of(str(captures / "*"))) == ["bad", "one", "two"]
    with pytest.raises(SceneError, match="no folder"):
        scenes_of(str(captures / "none*"))
    (captures / "one" / "two").mkdir()
    (captures / "twice.txt").write_text("two\none/two\n")
    with pytest.raises(SceneError, match="two scenes are called two"):
        scenes_of(str(captures / "twice.txt"))


def test_what_is_done_is_not_run_again(captures: Path, tmp_path: Path, ran: list[Job], capsys) -> None:
    arguments = ("fit", "--scenes", captures / "list.txt", "-o", tmp_path / "out", "--options=--steps 7")
    code, first = told(capsys, *arguments)
    assert code == 1 and "1 of 3 scenes failed" in first["error"]["message"]
    assert "bad: no photos" in first["error"]["message"]
    assert [job.scene for job in ran] == ["two", "one", "bad"] and "--steps 7" in " ".join(ran[0].arguments)
    assert "--overwrite" not in ran[0].arguments
    ran.clear()
    assert told(capsys, *arguments)[0] == 1
    assert [job.scene for job in ran] == ["bad"] and "--overwrite" in ran[0].arguments
    ran.clear()
    assert told(capsys, *arguments, "--overwrite")[0] == 1 and len(ran) == 3
    assert not list((tmp_path / "out").glob(".*")), "a temporary file was left"


def test_another_batch_does_not_mix(captures: Path, tmp_path: Path, ran: list[Job], capsys) -> None:
    scenes = ("--scenes", captures / "one", "-o", tmp_path / "out")
    code, summary = told(capsys, "lift", *scenes)
    assert (code, summary["done_now"], summary["failed"]) == (0, 1, 0)
    assert told(capsys, "lift", *scenes)[1]["done_before"] == 1 and len(ran) == 1
    assert "is of ff lift" in told(capsys, "fit", *scenes)[1]["error"]["message"]
    assert "is of ff lift" in told(capsys, "lift", *scenes, "--options=--views 3")[1]["error"]["message"]


def test_the_state_survives_and_is_checked(tmp_path: Path) -> None:
    state = BatchState.read(tmp_path / "batch.json", "fit", (), anew=False)
    state.after({"a": DONE}).after({"b": Outcome("running")})
    again = BatchState.read(tmp_path / "batch.json", "fit", (), anew=False)
    assert again.knows("a", "done") and again.knows("b", "running") and again.scenes["a"] == DONE
    (tmp_path / "batch.json").write_text('{"task": "fit", "options": [], "scenes": {"a": 3}}')
    with pytest.raises(FileFormatError, match="no state of a batch"):
        BatchState.read(tmp_path / "batch.json", "fit", (), anew=False)
    with pytest.raises(FittingError, match="another output folder"):
        state.after({})
        BatchState.read(tmp_path / "batch.json", "lift", (), anew=False)


def test_an_interrupted_fit_is_resumed(tmp_path: Path) -> None:
    def last(task: str = "fit") -> str:
        job = job_of(task, "a", tmp_path / "data", tmp_path, (), again=True, threads=1)
        return job.arguments[-1]

    assert last() == "--overwrite"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "checkpoint.safetensors").touch()
    assert last() == "--resume" and last("lift") == "--overwrite"


def test_a_process_tells_its_error_in_one_line(tmp_path: Path) -> None:
    job = job_of("extract", "a", tmp_path / "none", tmp_path, (), again=False, threads=1)
    outcome = run_job(job)
    assert outcome.state == "failed" and "does not exist" in outcome.error and "\n" not in outcome.error


def test_a_scene_stops_when_its_batch_is_no_more(tmp_path: Path) -> None:
    """What the batch held is closed by the system however it ends, kill -9 included."""
    photograph(tmp_path / "scene", views=4)
    told = ("--steps", "1000000", "--splats", "500", "--features", "none")
    job = job_of("fit", "a", tmp_path / "scene", tmp_path, told, again=False, threads=1)
    scene = subprocess.Popen(
        [sys.executable, *FF, *job.arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with pytest.raises(subprocess.TimeoutExpired):
        scene.wait(6)
    told_last, _ = scene.communicate(timeout=60)  # closes its stdin
    assert scene.returncode == 130 and json.loads(told_last)["error"]["kind"] == "Interrupted"
    assert not (tmp_path / "a" / "field.safetensors").exists()


def test_as_many_at_a_time_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_jobs, "run_job", lambda job: DONE)
    running, most = 0, 0
    seen: Iterator = local_outcomes([Job(str(number), ()) for number in range(7)], workers=3)
    ended = []
    for name, outcome in seen:
        running += 1 if outcome is None else -1
        most = max(most, running)
        ended += [name] if outcome else []
    assert most == 3 and running == 0 and sorted(ended) == [str(number) for number in range(7)]


def test_scenes_are_really_lifted(tmp_path: Path, capsys) -> None:
    photograph(tmp_path / "in" / "good", views=6)
    (tmp_path / "in" / "empty").mkdir()
    options = f"--options=--views 3 --geometry sweep --features classical --cache {tmp_path / 'cache'}"
    code, answer = told(
        capsys, "lift", "--scenes", tmp_path / "in" / "*", "-o", tmp_path / "out", options, "--workers", 2
    )
    assert code == 1 and "1 of 2 scenes failed" in answer["error"]["message"], answer
    assert "empty: " in answer["error"]["message"]
    assert (tmp_path / "out" / "good" / "field.safetensors").exists()
    state = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert state["scenes"]["good"]["state"] == "done" and state["scenes"]["good"]["seconds"] > 0


def test_a_scene_is_really_fitted_and_probed(demo_scene: Path, tmp_path: Path, capsys) -> None:
    photograph(tmp_path / "in" / "scene", views=6)
    scenes = ("--scenes", tmp_path / "in" / "*", "-o", tmp_path / "out")
    code, answer = told(capsys, "fit", *scenes, "--options=--steps 20 --splats 500 --features none")
    assert (code, answer["done_now"], answer["failed"]) == (0, 1, 0), answer
    assert answer["results"]["scene"]["splats"] <= 500
    assert read_archive(tmp_path / "out" / "scene" / "field.safetensors").heads.keys() == {"rgb"}
    options = f"--options=--features classical --every 6 --longest-side 48 --cache {tmp_path / 'cache'}"
    code, answer = told(capsys, "probe", "--scenes", demo_scene, "-o", tmp_path / "probed", options)
    assert code == 0 and answer["done_now"] == 1, answer
    found = json.loads((tmp_path / "probed" / demo_scene.name / "probe.json").read_text())
    assert list(found["extractors"]["classical"]["tasks"]) == ["correspondence"]


def test_features_are_in_the_cache(tmp_path: Path, capsys) -> None:
    photograph(tmp_path / "scene", views=4)
    arguments = ("extract", "--data", str(tmp_path / "scene"), "--features", "classical", "--json")
    assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["views"] == sum(path.is_file() for path in (tmp_path / "cache").rglob("*.safetensors"))


def test_without_ray_it_says_how_to_get_it(
    captures: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, answer = told(
        capsys, "lift", "--scenes", captures / "one", "-o", tmp_path / "out", "--engine", "ray"
    )
    assert code == 1 and "featurefields[batch]" in answer["error"]["message"]
