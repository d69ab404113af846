"""Labels in splat PLYs and what is told about them beside."""

import json
from pathlib import Path

import pytest
import torch

from featurefields.errors import FileFormatError, WriteError
from featurefields.field import FeatureField
from featurefields.files.labels import Label, Labels, labels_path, read_labels, write_labels
from featurefields.files.ply import read_ply, write_ply
from featurefields.splats import Splats


def some_splats(n: int = 40) -> Splats:
    generator = torch.Generator().manual_seed(4)
    return Splats(
        means=torch.randn(n, 3, generator=generator),
        quats=torch.randn(n, 4, generator=generator),
        log_scales=torch.randn(n, 3, generator=generator) - 3,
        opacity_logits=torch.randn(n, generator=generator),
        columns={"harmonics": torch.randn(n, 4, 3, generator=generator)},
    )


def some_labels(n: int = 40) -> Labels:
    ids = torch.arange(n) % 4
    entries = {1: Label("cup", {"clicks": [[3, 4]]}), 2: Label("ball"), 7: Label("nowhere")}
    return Labels(ids, entries, "abc")


class TestRoundTrip:
    def test_numbers_names_and_prompts_come_back(self, tmp_path: Path):
        splats, labels = some_splats(), some_labels()
        ply, sidecar = write_labels(splats, labels, tmp_path / "scene.ply")
        assert sidecar == labels_path(ply) == tmp_path / "scene.ply.labels.json"
        field, found = read_labels(ply)
        assert torch.equal(found.ids, labels.ids) and found.field_id == "abc"
        assert found.entries[1] == labels.entries[1] and found.entries[7].name == "nowhere"
        assert found.names() == {1: "cup", 2: "ball", 3: "label 3"}
        assert torch.equal(field.splats.means, splats.means) and set(field.splats.columns) == {"harmonics"}

    def test_the_column_is_an_ordinary_int_and_others_see_it(self, tmp_path: Path):
        ply, _ = write_labels(some_splats(), some_labels(), tmp_path / "scene.ply")
        assert b"property int label\n" in ply.read_bytes()[:2000]
        assert torch.equal(read_ply(ply).splats.columns["ply.label"].long(), some_labels().ids)

    def test_an_old_column_is_replaced(self, tmp_path: Path):
        first, _ = write_labels(some_splats(), some_labels(), tmp_path / "one.ply")
        again = Labels(torch.full((40,), 5))
        second, _ = write_labels(read_ply(first).splats, again, tmp_path / "two.ply")
        assert torch.equal(read_labels(second)[1].ids, again.ids)

    def test_what_the_json_says(self, tmp_path: Path):
        splats = some_splats()
        _, sidecar = write_labels(splats, some_labels(), tmp_path / "scene.ply")
        document = json.loads(sidecar.read_text())
        assert (document["schema"], document["kind"], document["ply"]) == (1, "labels", "scene.ply")
        assert (document["splats"], document["unlabelled"], document["field"]) == (40, 10, "abc")
        assert document["fingerprint"] == FeatureField(splats, {}).fingerprint()
        assert set(document["versions"]) == {"featurefields", "torch"}
        assert document["labels"]["1"] == {"name": "cup", "splats": 10, "how": {"clicks": [[3, 4]]}}
        assert document["labels"]["7"]["splats"] == 0

    def test_the_same_labels_give_the_same_bytes(self, tmp_path: Path):
        one, two = (write_labels(some_splats(), some_labels(), tmp_path / f / "s.ply") for f in "ab")
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]

    def test_without_the_json_numbers_remain(self, tmp_path: Path):
        ply, sidecar = write_labels(some_splats(), some_labels(), tmp_path / "scene.ply")
        sidecar.unlink()
        _, found = read_labels(ply)
        assert torch.equal(found.ids, some_labels().ids) and found.entries == {}
        assert found.names() == {1: "label 1", 2: "label 2", 3: "label 3"}

    def test_two_of_one_name_are_told_apart(self):
        labels = Labels(torch.tensor([1, 2, 3, 0]), {1: Label("cup"), 2: Label("cup"), 3: Label("ball")})
        assert labels.names() == {1: "cup (1)", 2: "cup (2)", 3: "ball"}


class TestErrors:
    def test_the_json_alone_finds_no_splats(self, tmp_path: Path):
        _, sidecar = write_labels(some_splats(), some_labels(), tmp_path / "scene.ply")
        with pytest.raises(
            FileFormatError, match=r"holds no splats to find them by; give the labelled \.ply"
        ):
            read_labels(sidecar)

    def test_a_ply_without_labels(self, tmp_path: Path):
        path = write_ply(some_splats(), tmp_path / "plain.ply")
        with pytest.raises(FileFormatError, match=r"no property 'label'.*ff labels attach") as caught:
            read_labels(path)
        assert "\n" not in str(caught.value)

    def test_fractions_are_no_labels(self, tmp_path: Path):
        path = write_ply(some_splats(), tmp_path / "s.ply", extra={"label": torch.full((40,), 0.5)})
        with pytest.raises(FileFormatError, match="no whole numbers"):
            read_labels(path)
        path = write_ply(some_splats(), tmp_path / "t.ply", extra={"label": torch.full((40,), 2.0)})
        assert read_labels(path)[1].present() == [2]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not JSON"),
            ("[]", "cannot be read"),
            ('{"kind": "other", "schema": 1}', "kind is 'other'"),
            ('{"kind": "labels", "schema": "1", "labels": {}}', "cannot be read"),
            ('{"kind": "labels", "schema": 99, "labels": {}}', "newer featurefields: schema 99"),
            ('{"kind": "labels", "schema": 1, "labels": {"cup": {"name": "x"}}}', "cannot be read"),
            ('{"kind": "labels", "schema": 1, "labels": {"1": {}}}', "no 'name'"),
        ],
    )
    def test_a_damaged_json_is_one_clear_line(self, tmp_path: Path, content: str, message: str):
        ply, sidecar = write_labels(some_splats(), some_labels(), tmp_path / "scene.ply")
        sidecar.write_text(content)
        with pytest.raises(FileFormatError, match=message) as caught:
            read_labels(ply)
        assert "\n" not in str(caught.value)

    def test_nothing_is_written_over(self, tmp_path: Path):
        sidecar = tmp_path / "scene.ply.labels.json"
        sidecar.write_text("mine")
        with pytest.raises(WriteError, match="exists already"):
            write_labels(some_splats(), some_labels(), tmp_path / "scene.ply")
        assert sidecar.read_text() == "mine" and not (tmp_path / "scene.ply").exists()
        write_labels(some_splats(), some_labels(), tmp_path / "scene.ply", overwrite=True)
        assert read_labels(tmp_path / "scene.ply")[1].names()[1] == "cup"

    def test_prompts_that_are_no_json(self, tmp_path: Path):
        labels = Labels(torch.ones(40, dtype=torch.int64), {1: Label("cup", {"mask": torch.zeros(2)})})
        with pytest.raises(WriteError, match="does not fit into JSON"):
            write_labels(some_splats(), labels, tmp_path / "scene.ply")
        assert not list(tmp_path.iterdir())
