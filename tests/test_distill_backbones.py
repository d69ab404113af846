"""Convolutional networks of the transformers library as extractors; low-rank additions; teachers."""

import copy
import json

import pytest
import torch
from test_vision_transformers import KINDS, tiny
from tiny_distillation import tiny_mobilenet, tiny_vit

from featurefields.distillation.lora import LoraLinear, add_lora
from featurefields.distillation.student import (
    StudentConfig,
    follow,
    merged,
    start_training,
    student_of,
    teacher_of,
)
from featurefields.errors import FileFormatError, FittingError
from featurefields.vision.convolutional_backbone import ConvolutionalBackbone
from featurefields.vision.transformers_backbone import TransformersBackbone, load_backbone, save_backbone


@pytest.fixture
def image(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(1, 3, 72, 104, generator=generator)


class TestConvolutional:
    def test_layers_of_the_configuration(self, tmp_path, image):
        backbone = load_backbone(str(tiny_mobilenet(tmp_path)))
        assert isinstance(backbone, ConvolutionalBackbone)
        features = backbone(image)
        assert (backbone.stride, features.shape) == (8, (1, backbone.dim, 9, 13))
        hidden = backbone.model(
            pixel_values=torch.zeros(1, 3, 64, 64), output_hidden_states=True
        ).hidden_states
        assert backbone.dim == hidden[4].shape[1] + hidden[9].shape[1]
        both = features.split([hidden[4].shape[1], hidden[9].shape[1]], dim=1)
        assert all(float(part.norm(dim=1).max()) <= 1.0 + 1e-5 for part in both)

    def test_features_move_with_the_picture(self, tmp_path):
        """Sampled where its patch is, a blob's response is centred on the blob; half a stride off without. One random
        network has preferences of its own, so the mean over some counts; weights are positive, as blurs are."""
        folder = tiny_mobilenet(tmp_path)
        told = load_backbone(str(folder))
        config = json.loads((folder / "config.json").read_text())
        del config["feature_first_px"]
        (folder / "config.json").write_text(json.dumps(config))
        untold = load_backbone(str(folder))
        y, x = torch.meshgrid(torch.arange(128) + 0.5, torch.arange(128) + 0.5, indexing="ij")
        blob = torch.exp(-((x - 60) ** 2 + (y - 68) ** 2) / (2 * 8**2)).expand(1, 3, 128, 128)
        centres = (torch.arange(16) + 0.5) * 8

        def off(backbone: ConvolutionalBackbone, seed: int) -> float:
            torch.manual_seed(seed)
            for module in backbone.model.modules():
                if isinstance(module, torch.nn.Conv2d):
                    module.weight.data.uniform_(0, 2.0 / module.weight[0].numel())
            response = (backbone(0.5 + 0.4 * blob) - backbone(torch.full_like(blob, 0.5))).norm(dim=1)[0] ** 2
            share = response / response.sum()
            return float((share.sum(0) * centres).sum() - 60 + (share.sum(1) * centres).sum() - 68) / 2

        means = [sum(off(backbone, seed) for seed in range(8)) / 8 for backbone in (told, untold)]
        assert abs(means[0]) < 1.5 and means[1] < -2.5

    def test_one_plain_layer_is_the_last_hidden_state(self, image):
        import transformers as t

        torch.manual_seed(0)
        config = t.ConvNextConfig(hidden_sizes=[4, 6, 8, 10], depths=[1, 1, 1, 1], patch_size=4)
        backbone = ConvolutionalBackbone(t.ConvNextModel(config))
        padded = torch.nn.functional.pad(image, (0, 24, 0, 24), "replicate")
        assert (backbone.dim, backbone.stride) == (10, 32)
        assert backbone(padded).shape == (1, 10, 3, 4)
        assert ConvolutionalBackbone(t.ConvNextModel(config)).fingerprint != backbone.fingerprint

    def test_saved_and_loaded(self, tmp_path, image):
        backbone = load_backbone(str(tiny_mobilenet(tmp_path / "a")))
        (tmp_path / "b").mkdir()
        save_backbone(backbone, tmp_path / "b")
        again = load_backbone(str(tmp_path / "b"))
        assert again.fingerprint == backbone.fingerprint
        torch.testing.assert_close(again(image), backbone(image), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("settings", "words"),
        [({"feature_layers": [40]}, "gives no layers"), ({"feature_first_px": [1.0]}, "give one for each")],
    )
    def test_impossible_layers_are_refused(self, tmp_path, settings, words):
        folder = tiny_mobilenet(tmp_path)
        config = json.loads((folder / "config.json").read_text()) | settings
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(FileFormatError, match=words):
            load_backbone(str(folder))

    def test_converted_network_is_the_one_in_the_onnx_file(self, tmp_path, shared_data):
        from benchmarks.distill.mobilenet import write_mobilenet
        from featurefields.vision import choose_extractor

        weights = shared_data / "weights"
        if not (weights / "mnv2_imagenet_int8.npz").exists():
            pytest.skip("no ImageNet weights there")
        folder = write_mobilenet(weights / "mnv2_imagenet_int8.npz", tmp_path)
        config = json.loads((folder / "config.json").read_text())
        del config["feature_first_px"]
        (folder / "config.json").write_text(json.dumps(config))
        picture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
        ours = choose_extractor(f"transformers:{folder}")(picture)
        theirs = choose_extractor(f"onnx:{weights / 'mnv2_features.onnx'}")(picture)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


class TestLora:
    @pytest.mark.parametrize("kind", KINDS)
    def test_merged_equals_unmerged_for_every_family(self, kind, image, generator):
        picture = image[..., :20, :28]
        student = student_of(TransformersBackbone(tiny(kind)), StudentConfig(), generator)
        before = student(picture)
        torch.testing.assert_close(before, TransformersBackbone(tiny(kind))(picture))
        added = [module for module in student.model.modules() if isinstance(module, LoraLinear)]
        assert len(added) == 2 * 4
        for module in added:
            torch.nn.init.normal_(module.up, std=0.3, generator=generator)
        after = student(picture)
        assert (after - before).abs().max() > 1e-3
        plain = merged(student)
        assert not any(isinstance(module, LoraLinear) for module in plain.model.modules())
        torch.testing.assert_close(plain(picture), after, atol=1e-4, rtol=1e-4)
        assert plain.model.state_dict().keys() == tiny(kind).state_dict().keys()

    def test_only_additions_are_trained(self, generator):
        student = student_of(TransformersBackbone(tiny("vit")), StudentConfig(), generator)
        trained = [name for name, one in student.model.named_parameters() if one.requires_grad]
        assert trained and all(name.endswith((".up", ".down")) for name in trained)
        full = student_of(TransformersBackbone(tiny("vit")), StudentConfig(train="full"), generator)
        assert all(one.requires_grad for one in full.model.parameters())

    def test_dropout_only_in_training(self, image, generator):
        student = student_of(TransformersBackbone(tiny("vit")), StudentConfig(dropout=0.5), generator)
        for module in student.model.modules():
            if isinstance(module, LoraLinear):
                torch.nn.init.normal_(module.up, generator=generator)
        picture = image[..., :16, :16]
        assert torch.equal(student(picture), student(picture))
        start_training(student.model)
        assert not torch.equal(student.tokens(picture), student.tokens(picture))

    def test_networks_without_attention_are_refused(self, tmp_path, generator):
        backbone = load_backbone(str(tiny_mobilenet(tmp_path)))
        with pytest.raises(FittingError, match="--train full"):
            add_lora(backbone.model, generator=generator)
        assert all(
            one.requires_grad for one in student_of(backbone, StudentConfig(), generator).model.parameters()
        )


class TestTeacher:
    def test_it_follows_as_a_running_mean(self, tmp_path, generator):
        student = student_of(load_backbone(str(tiny_vit(tmp_path))), StudentConfig(train="full"), generator)
        teacher = teacher_of(student)
        start = {name: one.clone() for name, one in teacher.model.named_parameters()}
        with torch.no_grad():
            for one in student.model.parameters():
                one.add_(1.0)
        for _ in range(3):
            follow(teacher.model, student.model, 0.9)
        for name, one in teacher.model.named_parameters():
            torch.testing.assert_close(one, start[name] + (1 - 0.9**3))
        assert not teacher.model.training
        assert not any(one.requires_grad for one in teacher.model.parameters())

    def test_statistics_of_normalisation_stay(self, tmp_path, image, generator):
        student = student_of(load_backbone(str(tiny_mobilenet(tmp_path))), StudentConfig(), generator)
        start_training(student.model)
        before = copy.deepcopy(dict(student.model.named_buffers()))
        student.tokens(image).sum().backward()
        assert all(torch.equal(one, before[name]) for name, one in student.model.named_buffers())
        assert student.model.training
