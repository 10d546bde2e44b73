"""from_torch and timm's config.json: what a network is beyond its weights is looked at, or noted.

PyTorch is not there: modules are imitated by their parts. Tests/interop has the real ones.
"""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import mrp
import numpy as np
import pytest
from mrp._torch import read_floats

FOLDER = Path(__file__).parents[1] / "fixtures" / "weights"


class Tensor(np.ndarray):
    def new_tensor(self, values):
        return np.asarray(values, np.float32)


class Module:
    """A module of PyTorch as far as the library looks at it."""

    training = True

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def children(self):
        return [part for part in self.__dict__.values() if isinstance(part, Module)]

    def named_modules(self, prefix=""):
        yield prefix, self
        for name, part in self.__dict__.items():
            if isinstance(part, Module):
                yield from part.named_modules(f"{prefix}.{name}".lstrip("."))

    def modules(self):
        return [part for _, part in self.named_modules()]

    def parameters(self):
        yield np.zeros(1, np.float32).view(Tensor)

    def eval(self):
        for part in self.modules():
            part.training = False

    def __len__(self):
        return len(self.children())

    def __getitem__(self, index):
        return self.children()[index]


def kind(name, **attributes):
    return type(name, (Module,), {})(**attributes)


def conv(size, stride=1, **attributes):
    return kind("Conv2d", kernel_size=(size, size), stride=(stride, stride), **attributes)


def norm(eps=1e-5):
    return kind("BatchNorm2d", eps=eps)


def stage(stride, **attributes):
    first = Module(conv1=conv(3, stride), bn1=norm(), act1=kind("ReLU"), conv2=conv(3), bn2=norm(), **attributes)
    return Module(**{"0": first, "1": Module(conv1=conv(3), bn1=norm(), conv2=conv(3), bn2=norm())})


def residual(**attributes):
    """A module with the weights of Tests/fixtures/weights/resnet_torchvision, which computes what the library does."""
    folder = FOLDER / "resnet_torchvision"
    twin = mrp.Model.load(folder, image_size=12)
    parts = {"conv1": conv(3), "bn1": norm(), "maxpool": kind("Identity"), "fc": kind("Linear")}
    parts |= {f"layer{number}": stage(1 if number == 1 else 2) for number in (1, 2, 3, 4)}
    network = type("ResNet", (Module,), {"__call__": lambda self, images: np.log(twin.predict_proba(images)) * self.factor})
    module = network(state_dict=lambda: read_floats(folder / "model.safetensors"), **(parts | {"factor": 1.0} | attributes))
    return module, twin


def doubts(model):
    """What is said of the network; no state dict knows the mean of the pixels."""
    return [note for note in model.notes if not note.startswith("mean and deviation of the pixels are not known")]


def test_a_module_that_computes_the_same(warnings_of):
    module, twin = residual()
    module.layer1.training = False
    model = mrp.from_torch(module, image_size=12)
    assert np.array_equal(model.parameter("conv1.weight"), twin.parameter("conv1.weight"))
    assert doubts(model) == []
    assert not module.layer1.training  # every part is as it was
    assert module.training
    assert warnings_of() == []


def test_a_module_that_computes_something_else():
    module, _ = residual(factor=1.05)
    with pytest.raises(
        mrp.ArgumentError, match=r"probabilities differ from this library's by 0\.0\d+ of the largest value \(limit 0\.001\)"
    ):
        mrp.from_torch(module, image_size=12)
    assert mrp.from_torch(module, image_size=12, compare=False).classes
    assert mrp.from_torch(module, image_size=12, classifier="new").classes == 0  # another network than the module


def test_a_module_that_cannot_be_run_is_noted(warnings_of):
    module, _ = residual(factor=None)
    model = mrp.from_torch(module, image_size=12)
    assert len(doubts(model)) == 1
    assert doubts(model)[0].startswith("not compared with the module, which could not be run on an image of 3 x 12 x 12: ")
    assert warnings_of() == doubts(model)


def refused_parts():
    yield "'maxpool' is AvgPool2d, which residual networks do not have here", {"maxpool": kind("AvgPool2d")}
    yield "'layer2.0.aa' is BlurPool2d", {"layer2": stage(2, aa=kind("BlurPool2d"))}
    yield "'layer2.0.act2' is SiLU", {"layer2": stage(2, act2=kind("SiLU"))}
    yield "the batch norms have eps 0.001: 1e-05 is offered", {"bn1": norm(1e-3)}
    yield "'layer3.0.conv1' has stride (1, 1): 2 is offered", {"layer3": stage(1)}
    yield "'layer1.0.conv3' has dilation (2, 2)", {"layer1": stage(1, conv3=conv(3, dilation=(2, 2)))}
    yield "begins with a convolution of 3 x 3, stride 2", {"conv1": conv(3, 2)}


@pytest.mark.parametrize(("text", "parts"), list(refused_parts()), ids=lambda value: value if isinstance(value, str) else "")
def test_parts_of_residual_networks_that_are_not_offered(text, parts):
    module, _ = residual(**parts)
    with pytest.raises(mrp.ArgumentError, match=re.escape(text)):
        mrp.from_torch(module)


def transformer(**attributes):
    """A vision transformer of timm with the sizes of Tests/fixtures/weights/timm_token."""
    tensors = read_floats(FOLDER / "timm_token" / "model.safetensors")
    twin = mrp.from_torch(tensors, heads=3)

    def layer(number):
        attention = Module(qkv=kind("Linear"), num_heads=3, scale=(tensors["patch_embed.proj.weight"].shape[0] / 3) ** -0.5)
        mlp = Module(fc1=kind("Linear", weight=tensors["blocks.0.mlp.fc1.weight"]), act=kind("GELU", approximate="none"))
        return Module(norm1=kind("LayerNorm", eps=1e-6), attn=attention, mlp=mlp)

    side = twin.image_shape[1]
    projection = conv(twin.patch_shape[0], weight=tensors["patch_embed.proj.weight"])
    parts = {
        "blocks": Module(**{str(number): layer(number) for number in range(twin.info["num_hidden_layers"])}),
        "patch_embed": Module(proj=projection, img_size=(side, side)),
        "norm": kind("LayerNorm", eps=1e-6),
        "fc_norm": kind("Identity"),
        "head": kind("Linear"),
        "global_pool": "token",
    }
    network = type(
        "VisionTransformer",
        (Module,),
        {
            "__call__": lambda self, images: np.log(twin.predict_proba(images)),
            "forward_features": lambda self, images: twin.encode(images, features="tokens"),
        },
    )
    return network(state_dict=lambda: tensors, **(parts | attributes))


def test_a_vision_transformer():
    assert doubts(mrp.from_torch(transformer())) == []


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("global_pool 'max' with fc_norm", lambda m: m.__dict__.update(global_pool="max", fc_norm=kind("LayerNorm", eps=1e-6))),
        ("global_pool 'avg' without fc_norm", lambda m: m.__dict__.update(global_pool="avg")),
        ("'blocks.1.mlp.act' is QuickGELU", lambda m: m.blocks[1].mlp.__dict__.update(act=kind("QuickGELU"))),
        ("GELU by the approximation 'tanh'", lambda m: m.blocks[0].mlp.act.__dict__.update(approximate="tanh")),
        ("the layer norms have eps 1e-06 and 1e-05", lambda m: m.norm.__dict__.update(eps=1e-5)),
        ("attention is scaled by 1", lambda m: m.blocks[0].attn.__dict__.update(scale=1.0)),
    ],
)
def test_parts_of_vision_transformers_that_are_not_offered(text, change):
    module = transformer()
    change(module)
    with pytest.raises(mrp.ArgumentError, match=text):
        mrp.from_torch(module)


def test_errors_do_not_name_temporary_files():
    module = SimpleNamespace(state_dict=lambda: {"conv1.weight": np.zeros((4, 3, 5, 5), np.float32)})
    with pytest.raises(mrp.UnsupportedError, match=r"^the SimpleNamespace: the first convolution is 5 x 5"):
        mrp.from_torch(module)


@pytest.mark.parametrize(
    ("name", "configuration", "text"),
    [
        (
            "resnet_torchvision",
            {"architecture": "resnetaa18"},
            "config.json says that this is 'resnetaa18', whose weights look like those of resnet18",
        ),
        ("resnet_torchvision", {"architecture": "resnet18", "global_pool": "max"}, "global_pool 'max': 'avg' is offered"),
        ("resnet_torchvision", {"architecture": "resnet18", "model_args": {"act_layer": "silu"}}, 'act_layer "silu": not offered'),
        ("timm_token", {"architecture": "vit_tiny_patch16_224", "global_pool": "avg"}, "global_pool 'avg': 'token' is offered"),
        ("timm_token", {"architecture": "vit_base_patch32_clip_quickgelu_224"}, "quickgelu_224', with another activation than gelu"),
    ],
)
def test_what_timms_configuration_says(name, configuration, text, tmp_path):
    shutil.copy(FOLDER / name / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    with pytest.raises(mrp.UnsupportedError, match=re.escape(text)):
        mrp.Model.load(tmp_path, heads=3)


def test_a_known_configuration_leaves_no_doubt(tmp_path):
    shutil.copy(FOLDER / "resnet_torchvision" / "model.safetensors", tmp_path)
    assert any("no blur" in note for note in mrp.Model.load(tmp_path).notes)
    configuration = {"architecture": "resnet18.a1_in1k", "global_pool": "avg", "pretrained_cfg": {"input_size": [3, 12, 12]}}
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    assert doubts(mrp.Model.load(tmp_path)) == []
    (tmp_path / "config.json").write_text(json.dumps(configuration | {"model_args": {"riddle": 1}}))
    assert doubts(mrp.Model.load(tmp_path)) == ["model_args of config.json that are not looked at: riddle"]
