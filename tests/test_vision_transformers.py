"""Backbones of the transformers library, on tiny random models of each family."""

import json

import huggingface_hub
import pytest
import torch

from featurefields.errors import FileFormatError, UnavailableError
from featurefields.vision import hub
from featurefields.vision.hub import model_folder
from featurefields.vision.transformers_backbone import TransformersBackbone, load_backbone

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "patch_size": 4,
    "image_size": 16,
}


def tiny(kind: str) -> torch.nn.Module:
    """A random model of the family, with every weight drawn so that none is trivially zero."""
    import transformers as t

    builders = {
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**SIZES)),
        "registers": lambda: t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**SIZES)),
        "dinov3": lambda: t.DINOv3ViTModel(t.DINOv3ViTConfig(**SIZES, num_register_tokens=4)),
        "vit": lambda: t.ViTModel(t.ViTConfig(**SIZES), add_pooling_layer=False),
        "deit": lambda: t.DeiTModel(t.DeiTConfig(**SIZES), add_pooling_layer=False),
        "siglip": lambda: t.SiglipVisionModel(t.SiglipVisionConfig(**SIZES)),
        "clip": lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**SIZES)),
    }
    torch.manual_seed(3)
    model = builders[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


KINDS = ["dinov2", "registers", "dinov3", "vit", "deit", "siglip", "clip"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def image(generator: torch.Generator) -> torch.Tensor:
    return torch.rand(1, 3, 20, 28, generator=generator)


def test_saved_and_loaded_gives_a_grid(kind, tmp_path, image):
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    backbone = load_backbone(str(tmp_path))
    features = backbone(image)
    assert (backbone.dim, backbone.stride) == (16, 4)
    assert features.shape == (1, 16, 5, 7)
    assert not features.requires_grad
    assert backbone.fingerprint == TransformersBackbone(model).fingerprint
    torch.testing.assert_close(features, TransformersBackbone(model)(image))
    batch = backbone(torch.cat([image, image.flip(-1)]))
    torch.testing.assert_close(batch[:1], features, atol=1e-5, rtol=1e-4)


def test_patches_lie_row_by_row_where_their_pixels_are(kind, image):
    """Changing the pixels of one patch changes that patch's feature most of all."""
    backbone = TransformersBackbone(tiny(kind))
    before = backbone(image)
    for row, column in [(0, 0), (0, 6), (3, 1), (4, 5)]:
        changed = image.clone()
        patch = changed[..., row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        patch.copy_(1 - patch)
        change = (backbone(changed) - before).norm(dim=1)[0]
        assert divmod(int(change.argmax()), 7) == (row, column)


def test_class_and_register_tokens_are_dropped(kind, image):
    model = tiny(kind)
    options = {"interpolate_pos_encoding": True} if kind in ("vit", "deit", "siglip", "clip") else {}
    backbone = TransformersBackbone(model)
    mean, std = torch.tensor(backbone.mean)[:, None, None], torch.tensor(backbone.std)[:, None, None]
    hidden = model(pixel_values=(image - mean) / std, **options).last_hidden_state
    front = {"dinov2": 1, "registers": 5, "dinov3": 5, "vit": 1, "deit": 2, "siglip": 0, "clip": 1}[kind]
    assert hidden.shape[1] == front + 35
    torch.testing.assert_close(backbone(image)[0].flatten(1).T, hidden[0, front:].detach())


def test_sizes_between_patches_are_resized(image):
    backbone = TransformersBackbone(tiny("dinov2"))
    assert backbone(image[..., :18, :25]).shape == (1, 16, 5, 6)
    assert backbone(image[..., :1, :2]).shape == (1, 16, 1, 1)


def test_fingerprint_follows_weights_and_normalisation(kind):
    model = tiny(kind)
    before = TransformersBackbone(model).fingerprint
    assert TransformersBackbone(tiny(kind)).fingerprint == before
    assert TransformersBackbone(model, mean=(0.5, 0.5, 0.5)).fingerprint != before
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3
    assert TransformersBackbone(model).fingerprint != before


def test_tokens_can_be_trained(image):
    backbone = TransformersBackbone(tiny("registers"))
    backbone.tokens(image).square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.model.encoder.parameters())


def test_normalisation_comes_with_the_model(tmp_path):
    tiny("vit").save_pretrained(tmp_path)
    assert load_backbone(str(tmp_path)).mean == (0.485, 0.456, 0.406)
    settings = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    backbone = load_backbone(str(tmp_path))
    assert (backbone.mean, backbone.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings | {"do_normalize": False}))
    assert load_backbone(str(tmp_path)).std == (1.0, 1.0, 1.0)
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert load_backbone(str(tmp_path)).mean == (0.5, 0.4, 0.3)
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(FileFormatError, match="processor_config"):
        load_backbone(str(tmp_path))


def test_vision_tower_of_a_two_tower_model(tmp_path, image):
    import transformers as t

    text = SIZES | {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    del text["patch_size"], text["image_size"]
    model = t.CLIPModel(t.CLIPConfig(vision_config=SIZES, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    features = load_backbone(str(tmp_path))(image)
    torch.testing.assert_close(features, TransformersBackbone(model.vision_model)(image))


def test_pickled_weights_are_refused(tmp_path):
    tiny("vit").config.save_pretrained(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UnavailableError, match=r"no \.safetensors weights, and pickled ones are refused"):
        load_backbone(str(tmp_path))


def test_damaged_and_incomplete_folders(tmp_path):
    from safetensors.torch import load_file, save_file

    tiny("vit").save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    gone = next(name for name in tensors if "attention" in name)
    tensors = {name: tensor.clone() for name, tensor in tensors.items() if name != gone}
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(FileFormatError, match="lacks 1 weights"):
        load_backbone(str(tmp_path))
    weights.write_bytes(b"not weights")
    with pytest.raises(FileFormatError, match="cannot load model") as caught:
        load_backbone(str(tmp_path))
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-kind"}')
    with pytest.raises(FileFormatError, match="cannot load model"):
        load_backbone(str(tmp_path))


def test_models_without_patch_tokens_are_refused(image):
    import transformers as t

    convolutional = t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[4, 4, 4, 4], depths=[1, 1, 1, 1]))
    with pytest.raises(FileFormatError, match="'convnext' has no square patches"):
        TransformersBackbone(convolutional)
    detector = t.YolosModel(t.YolosConfig(**SIZES | {"image_size": [20, 28]}, num_detection_tokens=7))
    with pytest.raises(FileFormatError, match="one token a patch is needed"):
        TransformersBackbone(detector)(image)


class TestHub:
    """The hub is never contacted: its functions are replaced."""

    @pytest.fixture(autouse=True)
    def empty_cache(self, monkeypatch):
        def nothing(name, *, local_files_only=False, **rest):
            assert local_files_only, "the hub was asked for a download"
            raise FileNotFoundError("not in the cache")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)

    def refusal(self) -> str:
        with pytest.raises(UnavailableError) as caught:
            load_backbone("facebook/dinov2-with-registers-small")
        message = str(caught.value)
        assert "\n" not in message
        assert "facebook/dinov2-with-registers-small" in message
        for way_out in ("transformers:<folder>", "onnx:<file>", "--features classical"):
            assert way_out in message
        return message

    def test_no_network(self, monkeypatch):
        def refuse(*given, **rest):
            raise OSError("name or service not known")

        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
        assert "the hub could not be reached (name or service not known)" in self.refusal()

    def test_network_that_hangs(self, monkeypatch):
        import threading

        release = threading.Event()
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *given, **rest: release.wait(20))
        monkeypatch.setattr(hub, "_DEADLINE_S", 0.2)
        assert "no answer in" in self.refusal()
        release.set()

    def test_hub_that_refuses(self, monkeypatch):
        class RefusedError(OSError):
            response = type("Response", (), {"status_code": 401})

        def refuse(*given, **rest):
            raise RefusedError("unauthorised")

        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
        assert "HTTP 401" in self.refusal()

    def test_download_after_contact(self, monkeypatch, tmp_path, image):
        tiny("dinov2").save_pretrained(tmp_path)

        def snapshot(name, *, local_files_only=False, **rest):
            if local_files_only:
                raise FileNotFoundError("not in the cache")
            return str(tmp_path)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *given, **rest: None)
        assert load_backbone("facebook/dinov2-small")(image).shape == (1, 16, 5, 7)

    def test_cached_model_needs_no_contact(self, monkeypatch, tmp_path):
        tiny("dinov2").save_pretrained(tmp_path)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **rest: str(tmp_path))

        def contacted(*given, **rest):
            raise AssertionError("the hub was contacted")

        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", contacted)
        assert model_folder("facebook/dinov2-small") == tmp_path

    @pytest.mark.parametrize(
        "index", ['{"weight_map": {"a": "model-00002-of-00002.safetensors"}}', "{}", None]
    )
    def test_half_of_a_cached_models_weights_is_fetched_again(self, index, monkeypatch, tmp_path):
        """Older clients of the hub tell that a folder is there when a download broke off between two files."""
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model-00001-of-00002.safetensors").touch()
        if index is not None:
            (tmp_path / "model.safetensors.index.json").write_text(index)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **rest: str(tmp_path))

        def contacted(*given, **rest):
            raise OSError("the hub was contacted")

        monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", contacted)
        assert "the hub was contacted" in self.refusal()

    def test_missing_folder_is_not_taken_for_a_hub_id(self, tmp_path):
        with pytest.raises(UnavailableError, match="there is no such folder"):
            model_folder(str(tmp_path / "nowhere"))

    def test_impossible_id(self, monkeypatch):
        monkeypatch.undo()
        with pytest.raises(UnavailableError, match="neither a folder nor a hub id"):
            model_folder("no spaces/allowed here")
