"""What a PyTorch module is beyond its weights: its sizes, and what this library would compute otherwise, which is refused.

Modules are known by the names of their parts and classes, so that nothing of PyTorch is imported.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mrp._mrp import ArgumentError

# Parts that do nothing, or nothing after training.
_IDLE = {"Identity", "Dropout", "Dropout2d", "DropPath", "StochasticDepth", "Flatten"}
_CONVOLUTIONAL = _IDLE | {"Conv2d", "Linear", "AdaptiveAvgPool2d", "FastAdaptiveAvgPool"}


def configuration_of(module: Any) -> dict[str, Any] | None:
    """What a module says of itself, with the keys of a Hugging Face configuration; None when it is of an unknown kind.

    Raises ArgumentError for what the weights do not show and this library does not have.
    """
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_dict") and getattr(config, "hidden_size", None):
        values: dict[str, Any] = config.to_dict()
        return values
    for parts, describe in _KINDS:
        if all(hasattr(module, part) for part in parts):
            return describe(module)
    return None


def _vision_transformer(module: Any) -> dict[str, Any] | None:
    """A vision transformer of timm or of facebookresearch/mae."""
    blocks, patches = module.blocks, module.patch_embed
    image = getattr(patches, "img_size", None)
    if not len(blocks) or not image or not hasattr(patches, "proj") or not hasattr(getattr(blocks[0], "attn", None), "num_heads"):
        return None
    epsilons = _check_parts(module, "vision transformers", _IDLE | {"Conv2d", "Linear", "LayerNorm", "GELU"})
    if len(epsilons) > 1:
        raise ArgumentError(f"the layer norms have eps {' and '.join(map(str, sorted(epsilons)))}: one for all is offered")
    block, projection = blocks[0], patches.proj
    width, heads = projection.weight.shape[0], block.attn.num_heads
    scale = getattr(block.attn, "scale", None)
    if scale is not None and abs(scale - (width / heads) ** -0.5) > 1e-6:
        raise ArgumentError(
            f"attention is scaled by {scale}: {(width / heads) ** -0.5:.6g} is offered for {heads} heads of a width of {width}"
        )
    _check_pooling(module)
    values = {
        "model_type": "vit",
        "hidden_size": width,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": heads,
        "intermediate_size": block.mlp.fc1.weight.shape[0],
        "hidden_act": "gelu",
        "layer_norm_eps": block.norm1.eps,
        "image_size": list(image) if isinstance(image, tuple | list) else [image, image],
        "patch_size": list(projection.kernel_size),
        "num_channels": projection.weight.shape[1],
    }
    data = getattr(module, "pretrained_cfg", None) or {}
    if "mean" in data and "std" in data and len(data["mean"]) == values["num_channels"]:
        values |= {"image_mean": list(data["mean"]), "image_std": list(data["std"])}
    decoder = getattr(module, "decoder_blocks", None)
    if decoder:
        values |= {
            "model_type": "vit_mae",
            "decoder_hidden_size": module.decoder_embed.weight.shape[0],
            "decoder_num_hidden_layers": len(decoder),
            "decoder_num_attention_heads": decoder[0].attn.num_heads,
            "decoder_intermediate_size": decoder[0].mlp.fc1.weight.shape[0],
            "norm_pix_loss": bool(getattr(module, "norm_pix_loss", False)),
        }
    return values


def _check_pooling(module: Any) -> None:
    """Refuses a classifier that reads the tokens in another way than ours of the same weights."""
    pooling, head = getattr(module, "global_pool", None), getattr(module, "head", None)
    if pooling is None or head is None or _kind(head) == "Identity":
        return
    pooling = {True: "avg", False: "token"}.get(pooling, pooling)
    normed = _kind(getattr(module, "fc_norm", None)) not in ("Identity", "NoneType")
    if (pooling, normed) not in {("token", False), ("avg", True)}:
        raise ArgumentError(
            f"the classifier has global_pool '{pooling}' {'with' if normed else 'without'} fc_norm: 'token' without it and 'avg' with it "
            "are offered (a module made with num_classes=0 has no classifier)"
        )


def _residual_network(module: Any) -> dict[str, Any] | None:
    """A residual network of torchvision or timm."""
    epsilons = _check_parts(module, "residual networks", _CONVOLUTIONAL | {"BatchNorm2d", "ReLU", "MaxPool2d"})
    if epsilons - {1e-5}:
        raise ArgumentError(f"the batch norms have eps {max(epsilons - {1e-5})}: 1e-05 is offered")
    stem, pool = module.conv1, getattr(module, "maxpool", None)
    if hasattr(stem, "kernel_size"):
        size, stride = stem.kernel_size[0], stem.stride[0]
        pools = _kind(pool) != "Identity"
        if (size, stride, pools) not in {(7, 2, True), (3, 1, False)}:
            raise ArgumentError(
                f"the network begins with a convolution of {size} x {size}, stride {stride}, {'and a' if pools else 'without a'} maximum: "
                "7 x 7, stride 2 and a maximum, or 3 x 3, stride 1 without one are offered"
            )
    parts = dict(_leaves(module))
    halves = re.compile(rf"layer[2-4]\.0\.(conv{2 if 'layer1.0.conv3' in parts else 1}|downsample\.0)")
    for name, part in parts.items():
        expected = 2 if halves.fullmatch(name) else 1
        if name.startswith("layer") and getattr(part, "stride", expected) not in (expected, (expected, expected)):
            raise ArgumentError(f"'{name}' has stride {part.stride}: {expected} is offered")
    return _images_of(module)


def _convnext(module: Any) -> dict[str, Any] | None:
    """A ConvNeXt V2 of timm."""
    epsilons = _check_parts(module, "ConvNeXt V2", _CONVOLUTIONAL | {"LayerNorm2d", "LayerNorm", "GELU", "GlobalResponseNorm"})
    if epsilons - {1e-6}:
        raise ArgumentError(f"the layer norms have eps {max(epsilons - {1e-6})}: 1e-06 is offered")
    return _images_of(module)


_KINDS: list[tuple[tuple[str, ...], Callable[[Any], dict[str, Any] | None]]] = [
    (("layer4", "conv1", "named_modules"), _residual_network),
    (("stages", "stem", "named_modules"), _convnext),
    (("blocks", "patch_embed", "named_modules"), _vision_transformer),
]


def _kind(part: Any) -> str:
    return type(part).__name__


def _leaves(module: Any) -> Iterator[tuple[str, Any]]:
    """The parts that have no parts, by name."""
    return ((name, part) for name, part in module.named_modules() if next(iter(part.children()), None) is None)


def _check_parts(module: Any, family: str, offered: set[str]) -> set[float]:
    """Refuses parts that a family does not have here. Returns the eps of its norms."""
    epsilons = set()
    for name, part in _leaves(module):
        if _kind(part) not in offered:
            raise ArgumentError(f"'{name}' is {_kind(part)}, which {family} do not have here")
        if getattr(part, "approximate", "none") != "none":
            raise ArgumentError(f"'{name}' is GELU by the approximation '{part.approximate}': the exact one is offered")
        if getattr(part, "dilation", 1) not in (1, (1, 1)):
            raise ArgumentError(f"'{name}' has dilation {part.dilation}: 1 is offered")
        if hasattr(part, "eps"):
            epsilons.add(part.eps)
    return epsilons


def _images_of(module: Any) -> dict[str, Any]:
    """What timm says of a network's images (torchvision says nothing), and that its parts were looked at."""
    data: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    values = {key: list(data[key]) for key in ("input_size", "mean", "std") if key in data}
    return {"is_checked": True} | ({"pretrained_cfg": values} if values else {})
