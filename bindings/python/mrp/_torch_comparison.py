"""A PyTorch module and the model with its weights, side by side on one random image."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mrp._dataset import Dataset
from mrp._log import logger
from mrp._model import Model
from mrp._mrp import ArgumentError

Array = npt.NDArray[Any]

# Of the largest value; modules of 16-bit numbers round that much more.
_LIMITS = {"float64": 1e-3, "float32": 1e-3, "float16": 5e-2, "bfloat16": 1e-1}


def compare(module: Any, model: Model) -> list[str]:
    """Raises ArgumentError where the two compute different things. Returns what could not be compared, as notes."""
    try:
        pairs = list(_outputs(module, model))
    except Exception as error:  # whatever a module of somebody else's raises is no reason not to have its weights
        text = f"not compared with the module, which could not be run on an image of {_shape(model)}: {error or type(error).__name__}"
        logger.warning("%s", text)
        return [text]
    if not pairs:
        return [f"not compared with the module: what a {type(module).__name__} returns is unknown"]
    limit = _LIMITS.get(str(next(module.parameters()).dtype).removeprefix("torch."), 1e-3)
    for what, theirs, ours in pairs:
        if theirs.shape != ours.shape:
            raise ArgumentError(f"the module gives {what} of shape {theirs.shape}, this library {ours.shape}: {_ADVICE}")
        difference = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))
        if not difference <= limit:
            raise ArgumentError(
                f"on a random image the module's {what} differ from this library's by {difference:.2g} of the largest value (limit "
                f"{limit:g}): {_ADVICE}"
            )
    return []


_ADVICE = "the module computes something else with these weights; compare=False takes them all the same"


def _shape(model: Model) -> str:
    return " x ".join(map(str, model.image_shape))


def _outputs(module: Any, model: Model) -> Iterator[tuple[str, Array, Array]]:
    """(what, theirs, ours) of the features and, where there is a classifier, of its probabilities."""
    image = np.random.default_rng(0).random((1, *model.image_shape), np.float32)
    dataset = Dataset(image, layout="NCHW")
    facts = model.info["libmrp"]
    shift, scale = (np.asarray(facts.get(key, default), np.float32).reshape(-1, 1, 1) for key, default in (("mean", 0), ("std", 1)))
    with _evaluating(module):
        given = next(module.parameters()).new_tensor((image - shift) / scale)
        kind, features = _features(module, given)
        if features is not None:
            yield "features", _array(features), model.encode(dataset, features=kind).astype(np.float64)
        if model.classes:
            logits = module(given)
            theirs = _array(getattr(logits, "logits", logits))
            ours = np.log(np.maximum(model.predict_proba(dataset).astype(np.float64), 1e-30))
            theirs = theirs - theirs.max(-1, keepdims=True)
            theirs = theirs - np.log(np.exp(theirs).sum(-1, keepdims=True))
            yield "logarithms of probabilities", np.maximum(theirs, -60), np.maximum(ours, -60)


def _features(module: Any, given: Any) -> tuple[str, Any]:
    """The form of a module's features, and they themselves; None where it does not hand them out."""
    if hasattr(module, "forward_encoder"):  # facebookresearch/mae
        tokens, _, order = module.forward_encoder(given, 0.0)
        tokens, order = _array(tokens), _array(order).astype(int)
        return "tokens", np.concatenate([tokens[:, :1], np.take_along_axis(tokens[:, 1:], order[..., None], 1)], 1)
    if hasattr(module, "forward_features"):  # timm
        features = module.forward_features(given)
        if len(features.shape) == 4:
            return "tokens", _array(features).reshape(*features.shape[:2], -1).transpose(0, 2, 1)
        normed = type(getattr(module, "fc_norm", None)).__name__ == "LayerNorm"
        return "tokens", module.fc_norm(features) if normed else features
    config: Any = getattr(module, "config", None)
    if hasattr(config, "hidden_size"):  # transformers
        base = getattr(module, getattr(module, "base_model_prefix", "") or "vit", module)
        if not hasattr(config, "mask_ratio"):
            return "tokens", base(given).last_hidden_state
        ratio, config.mask_ratio = config.mask_ratio, 0.0
        try:  # noise that grows leaves the patches in their order
            count = base.embeddings.patch_embeddings.num_patches
            return "tokens", base(given, noise=given.new_tensor(np.arange(count)[None])).last_hidden_state
        finally:
            config.mask_ratio = ratio
    if type(getattr(module, "fc", None)).__name__ == "Identity":  # torchvision without its classifier
        return "mean", module(given)
    return "tokens", None


@contextlib.contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Modules as they are after training, without gradients; afterwards each is as it was."""
    torch = sys.modules.get("torch")
    modes = [(part, part.training) for part in module.modules()]
    with torch.no_grad() if torch else contextlib.nullcontext():
        module.eval()
        try:
            yield
        finally:
            for part, training in modes:
                part.training = training


def _array(values: Any) -> Array:
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, np.float64)
