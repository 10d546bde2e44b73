"""Modules of timm, torchvision and transformers: those with the same weights and another meaning are refused, each for its reason."""

import functools

import mrp
import pytest
import timm
import torch
import torchvision
from transformers import ViTConfig, ViTForImageClassification, ViTMAEConfig, ViTMAEForPreTraining, ViTModel

SMALL = {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 50, "image_size": 16, "patch_size": 4}
DECODER = {"decoder_hidden_size": 24, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 40}


def timms(name, **options):
    return lambda: timm.create_model(name, **options)


tiny = functools.partial(timms, "vit_tiny_patch16_224", depth=2)


def moved(module):
    """Weights that all matter: fresh ones leave branches and classifiers at zero."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            if value.ndim == 1:
                value.normal_(1.0 if name.endswith("weight") else 0.0, 0.1)
            elif value.ndim == 2:
                value.normal_(0.0, 0.5 / value.shape[-1] ** 0.5)
    return module


def torchvisions(change):
    def make():
        module = torchvision.models.resnet18()
        change(module)
        return module

    return make


def with_other_forward(module):
    inner = module._forward_impl
    module.forward = lambda images: 1.02 * inner(images)


@pytest.mark.parametrize(
    "make",
    [
        timms("resnet18"), timms("resnet50", in_chans=4), timms("convnextv2_atto"), tiny(), tiny(global_pool="avg"), tiny(num_classes=0),
        torchvisions(lambda module: None), torchvisions(lambda module: setattr(module, "fc", torch.nn.Identity())),
        lambda: ViTModel(ViTConfig(**SMALL)), lambda: ViTForImageClassification(ViTConfig(**SMALL, num_labels=5)),
        lambda: ViTMAEForPreTraining(ViTMAEConfig(**SMALL, **DECODER)),
    ],
)  # fmt: skip
def test_taken(make):
    module = moved(make())
    notes = mrp.from_torch(module).notes
    assert module.training
    assert not any("compared" in note for note in notes)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (timms("resnetaa50"), "AvgPool2d"), (timms("resnetblur50"), "BlurPool2d"), (timms("resnet18", act_layer=torch.nn.SiLU), "SiLU"),
        (tiny(global_pool="max"), "global_pool 'max'"), (tiny(global_pool="avg", fc_norm=False), "global_pool 'avg' without"),
        (tiny(act_layer=torch.nn.ReLU), "ReLU"), (tiny(act_layer=functools.partial(torch.nn.GELU, approximate="tanh")), "tanh"),
        (torchvisions(lambda module: setattr(module.layer2[0].conv1, "stride", 1)), "stride 1: 2 is offered"),
        (torchvisions(lambda module: setattr(module.bn1, "eps", 1e-3)), "eps 0.001"),
        (torchvisions(with_other_forward), "on a random image"),
    ],
)  # fmt: skip
def test_refused(make, text):
    with pytest.raises(mrp.ArgumentError, match=text):
        mrp.from_torch(moved(make()))
