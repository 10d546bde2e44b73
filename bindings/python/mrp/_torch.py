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
from mrp._mrp import ArgumentError, MrpError
from mrp._torch_comparison import compare as compared
from mrp._torch_modules import configuration_of

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


def from_torch(source: Any, *, compare: bool = True, **options: Any) -> Model:
    """A model with the weights of a PyTorch module, or of a state dict.

        mrp.from_torch(timm.create_model("vit_tiny_patch16_224", pretrained=True))
        mrp.from_torch(ViTMAEForPreTraining.from_pretrained("facebook/vit-mae-base"))

    A module of transformers, timm or torchvision also says what its weights do not show: heads, epsilon, activations, pooling, the size
    of its images. What this library does not have is refused. compare: the module is run once on a random image, and refused when it
    computes something else (a limit of 0.001 of the largest value). A plain state dict says nothing of that: see `Model.load` for what is
    then assumed, `Model.notes` for a list, and for the options, which are the same here.
    """
    if isinstance(source, Mapping):
        state, configuration = source, None
        for key, inner in source.items():
            if isinstance(inner, Mapping) and any(hasattr(value, "shape") for value in inner.values()):
                raise ArgumentError(f"the dict holds a state dict under {key!r}: pass that, source[{key!r}]")
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
        try:
            model = Model.load(path, **options)
        except MrpError as error:
            raise type(error)(str(error).replace(f"'{path}'", f"the {type(source).__name__}")) from None
    if compare and state is not source and not _CHANGES & options.keys():
        model._remarks = tuple(compared(source, model))
    return model


# Options by which a model becomes another one than the module.
_CHANGES = {"positions", "patch_weights", "channel_weights", "classifier"}


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
