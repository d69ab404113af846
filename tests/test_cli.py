"""The command line: what it imports, what it prints where, and its exit codes."""

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
import tyro

from featurefields.camera import Camera
from featurefields.errors import FeatureFieldsError, SceneError, UnavailableError
from featurefields.field import About, FeatureField
from featurefields.files.archive import write_archive
from featurefields.files.ply import read_ply, write_ply
from featurefields.files.selection import write_selection
from featurefields.heads.direct import DirectHead
from featurefields.heads.harmonics import HarmonicsHead
from featurefields.images import read_image
from featurefields.maths.similarity import Similarity
from featurefields.selection import Selection
from featurefields.splats import Splats
from featurefields_cli import main
from featurefields_cli.console import Console, Summary, readable
from featurefields_cli.main import COMMANDS, NO_READER
from featurefields_cli.options import ComputeOptions, ReportOptions

HEAVY = ("torch", "numpy", "cv2", "numba", "scipy", "PIL")
CLI = Path(__file__).resolve().parent.parent / "cli"
WRITTEN = [
    name for name, (module, _) in COMMANDS.items() if (CLI / f"{module.removeprefix('.')}.py").exists()
]


def ff(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """`ff` in a process of its own; `code` runs after it, with `heavy` = the heavy modules it imported."""
    script = (
        "import sys\nfrom featurefields_cli import main\nexit_code = main()\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n{code}\nsys.exit(exit_code)"
    )
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def tiny() -> FeatureField:
    """200 Gaussians in a ball with colours, features and two views; the photos' frame is another one."""
    generator = torch.Generator().manual_seed(0)
    n = 200
    columns = {
        "harmonics": 0.5 * torch.randn(n, 4, 3, generator=generator),
        "feature": torch.randn(n, 6, generator=generator),
    }
    splats = Splats(
        means=0.5 * torch.randn(n, 3, generator=generator),
        quats=torch.randn(n, 4, generator=generator),
        log_scales=torch.full((n, 3), -2.0),
        opacity_logits=torch.full((n,), 2.0),
        columns=columns,
    )
    pose = torch.eye(4)
    pose[2, 3] = -4.0
    camera = Camera(pose, torch.tensor([40.0, 40.0]), torch.tensor([24.0, 16.0]), (48, 32))
    about = About(
        scene="ball",
        world_from_capture=Similarity(0.5, torch.eye(3)[[1, 2, 0]], torch.tensor([1.0, 2.0, 3.0])),
        cameras={"images/a.png": camera, "images/b.png": camera.resized((24, 16)), "more/b.png": camera},
        notes={"steps": 7, "test_views": ["images/a.png"]},
    )
    heads = {"rgb": HarmonicsHead(1), "feature": DirectHead("feature")}
    return FeatureField(splats, heads, about)


@pytest.fixture
def archive(tiny: FeatureField, tmp_path: Path) -> Path:
    return write_archive(tiny, tmp_path / "ball.safetensors")


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """Run in this process with --json; stdout must be exactly one JSON object, on one line."""
    code = main([*map(str, arguments), "--json"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert out.count("\n") == 1
    return json.loads(out)


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run in this process; it must fail with one line on stderr and nothing on stdout. Gives the line."""
    code = main([*map(str, arguments)])
    captured = capsys.readouterr()
    assert (code, captured.out) == (1, ""), captured
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1, captured.err
    return captured.err


class TestStart:
    def test_help_lists_every_command_and_imports_nothing_heavy(self):
        done = ff("--help", code="assert not heavy, heavy\nassert 'tyro' not in sys.modules")
        assert done.returncode == 0, done.stderr
        assert all(f"  {name} " in done.stdout for name in COMMANDS)

    @pytest.mark.parametrize("name", WRITTEN)
    def test_help_of_a_command_imports_nothing_heavy(self, name: str):
        done = ff(name, "--help", code="assert not heavy, heavy")
        assert done.returncode == 0, done.stderr
        assert f"usage: ff {name}" in done.stdout and "--json" in done.stdout

    def test_every_command_has_its_file(self):
        assert list(COMMANDS) == WRITTEN

    def test_the_installed_script_is_this_one(self):
        (script,) = entry_points(group="console_scripts", name="ff")
        assert script.load() is main

    def test_no_command_is_wrong_usage(self, capsys):
        assert main([]) == 2
        assert "usage: ff" in capsys.readouterr().err

    def test_version(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out.startswith("featurefields 0.")

    def test_an_unknown_command_gets_a_suggestion(self):
        done = ff("rendr", code="assert not heavy, heavy")
        assert done.returncode == 2
        assert done.stderr == "error: ff has no command 'rendr'; did you mean render?\n"

    def test_a_wrong_option_is_wrong_usage(self):
        done = ff("info", "x", "--bogus")
        assert done.returncode == 2 and done.stdout == "" and "--bogus" in done.stderr


class TestErrors:
    def test_one_line_and_exit_code_1_without_waiting_for_torch(self):
        done = ff("info", "nothing/here", code="assert not heavy, heavy")
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr == "error: nothing/here does not exist; give a file or folder that does\n"

    def test_json_tells_the_error_on_stdout_as_well(self):
        done = ff("info", "nothing/here", "--json")
        assert done.returncode == 1
        error = json.loads(done.stdout)["error"]
        assert error["kind"] == "FileFormatError"
        assert done.stderr == f"error: {error['message']}\n"

    @pytest.fixture
    def command(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Console], Summary]], None]:
        """Makes `ff probe` do what the test wants."""

        @dataclass(frozen=True, kw_only=True)
        class ProbeOptions:
            report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()

        def install(act: Callable[[Console], Summary]) -> None:
            def run(options: ProbeOptions, console: Console) -> Summary:
                return act(console)

            module = types.ModuleType("featurefields_cli.probe")
            module.run = run
            monkeypatch.setitem(sys.modules, "featurefields_cli.probe", module)
            monkeypatch.setitem(COMMANDS, "probe", (".probe", "for the test"))

        return install

    @pytest.mark.parametrize(
        ("error", "code", "kind"),
        [
            (SceneError("two\nlines"), 1, "SceneError"),
            (FeatureFieldsError("plain [red]text[/red]"), 1, "FeatureFieldsError"),
            (KeyboardInterrupt(), 130, "Interrupted"),
            (ZeroDivisionError("a bug"), 70, "InternalError"),
        ],
    )
    def test_every_end_has_its_exit_code(self, command, capsys, error: BaseException, code: int, kind: str):
        def act(console: Console) -> Summary:
            raise error

        command(act)
        assert main(["probe", "--json"]) == code
        captured = capsys.readouterr()
        told = json.loads(captured.out)["error"]
        assert told["kind"] == kind and "\n" not in told["message"]
        assert captured.err.endswith(f"error: {told['message']}\n")
        assert ("Traceback" in captured.err) == (code == 70)
        if str(error).startswith("plain"):
            assert "[red]text[/red]" in captured.err

    def test_what_a_library_prints_does_not_reach_the_json(self, command, capsys):
        def act(console: Console) -> Summary:
            print("chatter")
            console.note("a note")
            with console.progress("work", 2) as advance:
                advance(2, loss=1.0)
            return Summary("done", {"a number": float("nan"), "path": Path("x")}, [Path("y")], ["ff info y"])

        command(act)
        assert main(["probe", "--json"]) == 0
        captured = capsys.readouterr()
        assert json.loads(captured.out) == {
            "title": "done", "a_number": None, "path": "x", "paths": ["y"], "next": ["ff info y"],
        }  # fmt: skip
        assert captured.err == "chatter\n"

    def test_progress_without_a_terminal_is_plain_lines(self, command, capsys, monkeypatch):
        def act(console: Console) -> Summary:
            with console.progress("work", 4) as advance:
                for _ in range(4):
                    advance(loss=0.25)
            return Summary("done", {"count": 1234567, "nothing": None}, [Path(str(i)) for i in range(10)])

        monkeypatch.setattr("featurefields_cli.console.LINE_EVERY_S", 0.0)
        command(act)
        assert main(["probe"]) == 0
        captured = capsys.readouterr()
        lines = captured.err.splitlines()
        assert lines[0].startswith("work: 1/4") and lines[0].endswith("loss 0.25")
        assert len(lines) == 5 and "4 done" in lines[-1]
        assert "1,234,567" in captured.out and "nothing" not in captured.out
        assert "wrote 7" in captured.out and "2 more files" in captured.out

    def test_tables_are_for_people_and_details_for_programs(self, command, capsys):
        from rich.table import Table

        def act(console: Console) -> Summary:
            table = Table(title="all of them")
            table.add_column("a heading that is long enough to be cut off in eighty columns " * 2)
            table.add_row("cell")
            return Summary("done", {"few": 1}, details={"all of": [1, 2]}, tables=[table])

        command(act)
        assert main(["probe"]) == 0
        shown = capsys.readouterr().out
        assert shown.index("all of them") < shown.index("done") < shown.index("few")
        assert "cell" in shown and "all of " * 2 not in shown and "[1" not in shown and "…" not in shown
        assert main(["probe", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts == {"title": "done", "few": 1, "all_of": [1, 2], "paths": [], "next": []}

    def test_cuda_that_is_not_there_is_told(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert ComputeOptions().torch_device().type == "cpu"
        with pytest.raises(UnavailableError, match="--device cpu"):
            ComputeOptions(device="cuda").torch_device()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12,345"),
        (0.000123456, "0.0001235"),
        (123456.7, "123,457"),
        (True, "yes"),
        (None, "-"),
        ({"a": 1, "b": [1.5, "x"]}, "a 1, b 1.5, x"),
        (torch.tensor(2.5), "2.5"),
    ],
)
def test_readable(value: object, text: str):
    assert readable(value) == text


class TestClosedPipe:
    """`ff … | head`: whoever read the output has gone."""

    @staticmethod
    def unread(*arguments: str) -> tuple[int, str]:
        """Exit code and stderr of `ff` whose output nobody reads."""
        reader, writer = os.pipe()
        os.close(reader)
        command = [
            sys.executable,
            "-c",
            "import sys\nfrom featurefields_cli import main\nsys.exit(main())",
            *arguments,
        ]
        try:
            done = subprocess.run(
                command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
            )
        finally:
            os.close(writer)
        return done.returncode, done.stderr

    @pytest.mark.parametrize("flags", [(), ("--json",)], ids=["table", "json"])
    def test_a_summary_that_nobody_reads_ends_quietly(self, archive: Path, flags: tuple[str, ...]):
        code, told = self.unread("info", str(archive), *flags)
        assert code == NO_READER, told
        assert told == ""

    @pytest.mark.parametrize("words", [("--help",), ("info", "--help")], ids=["overview", "command"])
    def test_a_help_that_nobody_reads_ends_quietly(self, words: tuple[str, ...]):
        assert self.unread(*words) == (NO_READER, "")

    def test_an_error_that_nobody_reads_is_still_told_on_stderr(self):
        code, told = self.unread("info", "nothing/here", "--json")
        assert code == NO_READER and told.startswith("error: ") and "Traceback" not in told


class TestInfo:
    def test_an_archive_and_its_folder(self, archive: Path, tmp_path: Path, capsys):
        told = run_json(capsys, "info", archive)
        assert (told["splats"], told["views"], told["scene"]) == (200, 3, "ball")
        assert told["heads"] == {"rgb": "harmonics", "feature": "direct"}
        assert told["columns"] == {"harmonics": "n x 4 x 3", "feature": "n x 6"}
        assert told["notes"] == {"steps": 7}
        folder = tmp_path / "fitted"
        folder.mkdir()
        archive.rename(folder / "field.safetensors")
        assert run_json(capsys, "info", folder)["fingerprint"] == told["fingerprint"]

    def test_a_ply(self, tiny: FeatureField, tmp_path: Path, capsys):
        label = torch.arange(200, dtype=torch.int32)
        path = write_ply(tiny.splats, tmp_path / "ball.ply", extra={"label": label})
        told = run_json(capsys, "info", path)
        assert (told["splats"], told["sh_degree"], told["extra_columns"]) == (200, 1, ["label"])
        assert told["low_corner"] == pytest.approx(tiny.splats.means.amin(0).tolist())
        assert told["high_corner"] == pytest.approx(tiny.splats.means.amax(0).tolist())

    def test_a_selection(self, tiny: FeatureField, tmp_path: Path, capsys):
        mask = torch.arange(200) < 30
        selection = Selection(mask, mask.float() * 0.5, tiny.fingerprint(), {"clicks": [[3, 4]]})
        path = write_selection(selection, tmp_path / "chosen.safetensors")
        told = run_json(capsys, "info", path)
        assert (told["chosen"], told["of"], told["field"]) == (30, 200, tiny.fingerprint())
        assert told["how"] == {"clicks": [[3, 4]]}

    def test_photos(self, tmp_path: Path, capsys):
        frames = [
            {
                "file_path": f"{i}.png",
                "transform_matrix": [[1, 0, 0, i], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]],
            }
            for i in range(3)
        ]
        record = {"fl_x": 20, "fl_y": 20, "cx": 8, "cy": 6, "w": 16, "h": 12, "frames": frames}
        (tmp_path / "transforms.json").write_text(json.dumps(record))
        for i in range(2):
            from featurefields.images import write_png

            write_png(tmp_path / f"{i}.png", torch.rand(12, 16, 3))
        told = run_json(capsys, "info", tmp_path)
        assert (told["kind"], told["views"], told["missing_photos"], told["size"]) == (
            "scene",
            2,
            1,
            ["16 x 12"],
        )

    def test_a_table_for_people(self, archive: Path, capsys):
        assert main(["info", str(archive)]) == 0
        out = capsys.readouterr().out
        assert "splats" in out and "200" in out and "next: ff render" in out

    def test_what_is_no_file_of_ours(self, tmp_path: Path, capsys):
        (tmp_path / "notes.txt").write_text("hello")
        (tmp_path / "broken.safetensors").write_bytes(b"hello")
        assert "no kind known" in failure(capsys, "info", tmp_path / "notes.txt")
        assert "broken.safetensors" in failure(capsys, "info", tmp_path / "broken.safetensors")


class TestRender:
    def test_held_out_views_in_every_layer(self, archive: Path, tmp_path: Path, capsys):
        told = run_json(capsys, "render", archive, "-o", tmp_path / "out")
        layers = ["rgb", "indep", "dep", "feature", "feature_indep", "depth", "alpha"]
        assert told["layers"] == layers
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
            f"a_{name}.png" for name in layers
        )
        assert told["paths"] == [str(tmp_path / "out" / f"a_{name}.png") for name in layers]
        assert told["ms_per_view"] > 0
        for path in map(Path, told["paths"]):
            picture = read_image(path)
            assert picture.shape == (32, 48, 3)
            assert picture.std() > 0.02, path

    def test_the_picture_is_what_render_draws(self, archive: Path, tiny, tmp_path: Path, capsys):
        from featurefields.field import render

        run_json(capsys, "render", archive, "-o", tmp_path, "--layers", "rgb", "--backend", "reference")
        drawn = render(tiny, tiny.about.cameras["images/a.png"])["rgb"]["total"].clamp(0, 1)
        assert (read_image(tmp_path / "a_rgb.png") - drawn).abs().max() < 1.5 / 255

    def test_views_by_name_and_all_of_them_at_a_size(self, archive: Path, tmp_path: Path, capsys):
        told = run_json(
            capsys, "render", archive, "-o", tmp_path / "one", "--view", "more/b.png", "--layers", "alpha"
        )
        assert told["paths"] == [str(tmp_path / "one" / "b_alpha.png")]
        run_json(
            capsys, "render", archive, "-o", tmp_path / "all", "--all", "--layers", "depth", "--size", "12"
        )
        names = sorted(p.name for p in (tmp_path / "all").iterdir())
        assert names == ["a_depth.png", "images_b_depth.png", "more_b_depth.png"]
        assert read_image(tmp_path / "all" / "a_depth.png").shape == (8, 12, 3)

    def test_an_orbit_with_and_without_cameras(self, archive: Path, tiny, tmp_path: Path, capsys):
        told = run_json(capsys, "render", archive, "-o", tmp_path / "a", "--orbit", "3", "--layers", "rgb")
        assert [Path(p).name for p in told["paths"]] == [f"orbit_000{i}_rgb.png" for i in range(3)]
        ply = write_ply(tiny.splats, tmp_path / "ball.ply")
        told = run_json(
            capsys, "render", ply, "-o", tmp_path / "b", "--orbit", "2", "--size", "40", "--layers", "alpha"
        )
        for path in told["paths"]:
            covered = (read_image(path) > 0.5).float().mean()
            assert 0.1 < covered < 0.9

    def test_a_ply_seen_from_its_photos(self, tmp_path: Path, tiny, capsys):
        pose = [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, -4], [0, 0, 0, 1]]  # OpenGL; the same place as "a"
        frames = [{"file_path": f"{i}.png", "transform_matrix": pose} for i in range(2)]
        record = {"fl_x": 40, "fl_y": 40, "cx": 24, "cy": 16, "w": 48, "h": 32, "frames": frames}
        (tmp_path / "transforms.json").write_text(json.dumps(record))
        from featurefields.images import write_png

        for i in range(2):
            write_png(tmp_path / f"{i}.png", torch.rand(32, 48, 3))
        ply = write_ply(tiny.splats, tmp_path / "ball.ply")
        run_json(
            capsys,
            "render",
            ply,
            "--scene",
            tmp_path,
            "-o",
            tmp_path / "out",
            "--layers",
            "rgb",
            "--view",
            "1",
        )
        from featurefields.field import render

        expected = render(tiny, tiny.about.cameras["images/a.png"])["rgb"]["total"].clamp(0, 1)
        assert (read_image(tmp_path / "out" / "1_rgb.png") - expected).abs().max() < 0.02

    def test_nothing_is_replaced_unasked(self, archive: Path, tmp_path: Path, capsys):
        existing = tmp_path / "a_alpha.png"
        existing.write_bytes(b"mine")
        line = failure(capsys, "render", archive, "-o", tmp_path, "--layers", "rgb", "alpha")
        assert "--overwrite" in line
        assert existing.read_bytes() == b"mine" and not (tmp_path / "a_rgb.png").exists()
        run_json(capsys, "render", archive, "-o", tmp_path, "--layers", "rgb", "alpha", "--overwrite")
        assert read_image(existing).shape == (32, 48, 3)

    def test_what_cannot_be_drawn_is_told(self, archive: Path, tiny, tmp_path: Path, capsys):
        out = ("-o", tmp_path / "out")
        assert "'normal'" in failure(capsys, "render", archive, *out, "--layers", "normal")
        assert "called 'c'" in failure(capsys, "render", archive, *out, "--view", "c")
        assert "several views" in failure(capsys, "render", archive, *out, "--view", "b")
        assert "at least 1" in failure(capsys, "render", archive, *out, "--orbit", "0")
        assert "at least 1" in failure(capsys, "render", archive, *out, "--size", "0")
        ply = write_ply(tiny.splats, tmp_path / "ball.ply")
        assert "--orbit" in failure(capsys, "render", ply, *out)
        assert not (tmp_path / "out").exists()


class TestExport:
    baking = staticmethod(
        lambda: pytest.importorskip("featurefields.editing.baking", reason="baking is missing")
    )

    def test_it_fits_the_photos_by_default(self, archive: Path, tiny, tmp_path: Path, capsys):
        self.baking()
        told = run_json(capsys, "export", archive, "-o", tmp_path / "out.ply")
        assert (told["splats"], told["of"]) == (200, 200)
        expected = tiny.about.world_from_capture.inverse.points(tiny.splats.means)
        assert torch.allclose(read_ply(tmp_path / "out.ply").splats.means, expected, atol=1e-5)
        run_json(capsys, "export", archive, "-o", tmp_path / "world.ply", "--frame", "world")
        assert torch.equal(read_ply(tmp_path / "world.ply").splats.means, tiny.splats.means)

    def test_a_selection_and_the_rest_are_the_whole(self, archive: Path, tiny, tmp_path: Path, capsys):
        self.baking()
        mask = torch.arange(200) % 3 == 0
        chosen = Selection(mask, mask.float(), tiny.fingerprint())
        selection = write_selection(chosen, tmp_path / "s.safetensors")
        common = ("export", archive, "--frame", "world", "--sh-degree", "1", "--selection", selection)
        run_json(capsys, *common, "-o", tmp_path / "in.ply")
        run_json(capsys, *common, "--rest", "-o", tmp_path / "rest.ply")
        inside, rest = read_ply(tmp_path / "in.ply").splats, read_ply(tmp_path / "rest.ply").splats
        assert torch.equal(inside.means, tiny.splats.means[mask])
        assert torch.equal(rest.means, tiny.splats.means[~mask])
        assert inside.columns["harmonics"].shape == (67, 4, 3)

    def test_what_cannot_be_exported_is_told(self, archive: Path, tiny, tmp_path: Path, capsys):
        self.baking()
        out = ("-o", tmp_path / "out.ply")
        assert "--selection" in failure(capsys, "export", archive, *out, "--rest")
        assert "no .ply" in failure(capsys, "export", archive, "-o", tmp_path / "out.obj")
        nothing = Selection(torch.zeros(200, dtype=torch.bool), torch.zeros(200), tiny.fingerprint())
        path = write_selection(nothing, tmp_path / "none.safetensors")
        assert "nothing to write" in failure(capsys, "export", archive, *out, "--selection", path)
        other = Selection(torch.ones(3, dtype=torch.bool), torch.zeros(3), "another")
        path = write_selection(other, tmp_path / "other.safetensors")
        assert "another scene" in failure(capsys, "export", archive, *out, "--selection", path)
        (tmp_path / "out.ply").write_bytes(b"mine")
        assert "--overwrite" in failure(capsys, "export", archive, *out)
        assert (tmp_path / "out.ply").read_bytes() == b"mine"
