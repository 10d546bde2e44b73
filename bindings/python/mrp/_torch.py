"""Exchange with PyTorch modules, through files in memory-sized steps. PyTorch is imported only when a function needs it."""

import json
import os
import struct
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mrp._estimator import Estimator
from mrp._model import Model
from mrp._mrp import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor


def to_torch_state_dict(model: Model | Estimator, style: str = "hub") -> dict[str, "Tensor"]:
    """The weights as a state dict of PyTorch tensors (float32, copies).

        ViTMAEForPreTraining(config).load_state_dict(mrp.to_torch_state_dict(mae, style="transformers5"))
        timm.create_model("vit_base_patch16_224").load_state_dict(mrp.to_torch_state_dict(classifier, style="timm"))

    style: 'hub' (Hugging Face files, transformers 4), 'timm' (also facebookresearch/mae), 'transformers5' (its modules),
    'transformers5_saved' (its files).
    """
    import torch

    if isinstance(model, Estimator):
        model = model.model_
    with tempfile.TemporaryDirectory(prefix="mrp-") as folder:
        path = os.path.join(folder, "weights.safetensors")
        model.save(path, names=style)
        return {name: torch.from_numpy(values) for name, values in read_floats(path).items()}


def from_torch(source: Any, **options: Any) -> Model:
    """A model with the weights of a PyTorch module, or of a state dict.

        mrp.from_torch(timm.create_model("vit_tiny_patch16_224", pretrained=True))
        mrp.from_torch(ViTMAEForPreTraining.from_pretrained("facebook/vit-mae-base"))

    A module of transformers or timm also says how many heads it has, its epsilon and its image size; a plain state dict does not:
    see `Model.load` for what is then assumed and for the options, which are the same here.
    """
    if isinstance(source, Mapping):
        state, configuration = source, None
    elif hasattr(source, "state_dict"):
        state, configuration = source.state_dict(), configuration_of(source)
    else:
        raise ArgumentError(f"expected a PyTorch module or a state dict, got {type(source).__name__}")
    with tempfile.TemporaryDirectory(prefix="mrp-") as folder:
        path = os.path.join(folder, "model.safetensors")
        write_floats(path, {name: _array(name, value) for name, value in state.items()})
        if configuration:
            with open(os.path.join(folder, "config.json"), "w") as file:
                json.dump(configuration, file)
        return Model.load(path, **options)


def configuration_of(module: Any) -> dict[str, Any] | None:
    """What a module says of itself, with the keys of a Hugging Face configuration; None when it is of an unknown kind."""
    config: Any = getattr(module, "config", None)
    if hasattr(config, "to_dict") and getattr(config, "hidden_size", None):
        values: dict[str, Any] = config.to_dict()
        return values
    if hasattr(module, "layer4") and hasattr(module, "conv1"):
        return _configuration_of_residual(module)
    blocks: Any = getattr(module, "blocks", None)
    patches: Any = getattr(module, "patch_embed", None)
    if not blocks or not hasattr(patches, "proj"):
        return None
    block, projection = blocks[0], patches.proj
    image = getattr(patches, "img_size", None)
    if not image or not hasattr(getattr(block, "attn", None), "num_heads"):
        return None
    data = getattr(module, "pretrained_cfg", None) or {}
    values = {
        "model_type": "vit",
        "hidden_size": projection.weight.shape[0],
        "num_hidden_layers": len(blocks),
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.fc1.weight.shape[0],
        "hidden_act": "gelu",
        "layer_norm_eps": block.norm1.eps,
        "image_size": list(image) if isinstance(image, tuple | list) else [image, image],
        "patch_size": list(projection.kernel_size),
        "num_channels": projection.weight.shape[1],
    }
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


def _configuration_of_residual(module: Any) -> dict[str, Any] | None:
    """What timm says of its images (torchvision says nothing). Refuses what the weights do not show."""
    stem, pool = module.conv1, getattr(module, "maxpool", None)
    if hasattr(stem, "kernel_size"):
        size, stride = stem.kernel_size[0], stem.stride[0]
        pools = type(pool).__name__ != "Identity"
        if (size, stride, pools) not in {(7, 2, True), (3, 1, False)}:
            raise ArgumentError(
                f"the network begins with a convolution of {size} x {size}, stride {stride}, {'and a' if pools else 'without a'} maximum: "
                "7 x 7, stride 2 and a maximum, or 3 x 3, stride 1 without one are offered"
            )
    for name, part in module.named_modules():
        if getattr(part, "dilation", 1) not in (1, (1, 1)):
            raise ArgumentError(f"'{name}' has dilation {part.dilation}: 1 is offered")
    data = getattr(module, "pretrained_cfg", None) or {}
    values = {key: list(data[key]) for key in ("input_size", "mean", "std") if key in data}
    return {"pretrained_cfg": values} if values else None


def _array(name: str, value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fi":
        raise ArgumentError(f"'{name}' has elements of type {array.dtype}, expected numbers")
    return array.astype("<f4" if array.dtype.kind == "f" else "<i8")


def write_floats(path: str, tensors: Mapping[str, Any]) -> None:
    """A safetensors file of float32 and int64 arrays."""
    header, position = {}, 0
    for name, array in tensors.items():
        dtype = "F32" if array.dtype.kind == "f" else "I64"
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [position, position + array.nbytes]}
        position += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def read_floats(path: str) -> dict[str, Any]:
    """The float32 tensors of a safetensors file that the library wrote, and the counts (int64) of its batch norms."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__", None)
    result = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        numbers = "<i8" if entry["dtype"] == "I64" else "<f4"
        result[name] = np.frombuffer(data[begin:end], numbers).reshape(entry["shape"]).copy()
    return result
