"""The benchmark of distillation: what it trains, what it keeps, what it shows."""

import json

import pytest

from benchmarks.distill.report import table
from benchmarks.distill.variants import ABLATIONS, chosen
from featurefields_cli.distill import DistillOptions


def test_every_ablation_is_a_setting_of_the_command():
    import tyro

    plain = ["--data", "a", "--features", "transformers:b"]
    config = (tyro.conf.FlagCreatePairsOff,)
    full = tyro.cli(DistillOptions, args=plain, config=config)
    for variant in ABLATIONS:
        options = tyro.cli(DistillOptions, args=[*plain, *variant.options], config=config)
        assert (options.teacher, options.loss) != (full.teacher, full.loss)
        options.config()
    assert chosen(["all"]) == list(ABLATIONS) and [one.name for one in chosen(["bilinear"])] == ["bilinear"]
    with pytest.raises(KeyError):
        chosen(["nothing"])


def test_tables_show_means_spreads_and_changes():
    measured = {
        "base": [{"depth rmse": 2.0, "segmentation miou": 0.5}],
        "full": [
            {"depth rmse": 1.8, "segmentation miou": 0.5},
            {"depth rmse": 1.6, "segmentation miou": 0.5},
        ],
    }
    lines = table(measured).splitlines()
    assert lines[0] == "| | base | full |"
    assert "| depth rmse ↓ | 2 | 1.7 ± 0.141 (-15.0 %) |" in lines
    assert "| segmentation miou ↑ | 0.5 | 0.5 ± 0 |" in lines


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch, capsys):
    """One base, a training a seed and ablation; a second run only reads."""
    import benchmarks.distill.mobilenet as mobilenet
    import benchmarks.distill.probing as probing
    import benchmarks.distill.training as training
    from benchmarks.distill.command import main

    made, probes = [], []

    def network(folder):
        folder.mkdir(parents=True)
        return folder

    def distilled(base, scenes, output, variant, seed, options):
        folder = output / f"{variant.name}-{seed}" / "model"
        if not folder.is_dir():
            made.append((variant.name, seed, options[1]))
            network(folder)
        return training.Run(variant.name, seed, folder)

    def probed(folder, *rest):
        probes.append(folder)
        return {"depth rmse": 1.0 + len(probes)}

    monkeypatch.setattr(mobilenet, "write_mobilenet", lambda weights, folder: network(folder))
    monkeypatch.setattr(training, "distilled", distilled)
    monkeypatch.setattr(probing, "probed", probed)
    arguments = ["--weights", "w", "--scenes", "s", "--held-out", "h", "-o", str(tmp_path), "--seeds", "2",
                 "--steps", "9", "--ablation-steps", "4", "--ablations", "bilinear"]  # fmt: skip
    assert main(arguments) == 0
    assert made == [("full", 0, "9"), ("full", 1, "9"), ("full-4", 0, "4"), ("bilinear", 0, "4")]
    assert len(probes) == 5
    assert main(arguments) == 0
    assert (len(made), len(probes)) == (4, 5)
    report = json.loads((tmp_path / "report.json").read_text())
    assert [len(rows) for rows in report["measured"].values()] == [1, 2, 1, 1]
    assert "| depth rmse ↓ |" in capsys.readouterr().out
