"""What the estimators have in common: parameters by keyword, in the manner of scikit-learn and without importing it."""

import numbers
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from mrp._config import Config, check_keys, documented, option_of, presets
from mrp._dataset import Dataset, as_dataset
from mrp._log import logger
from mrp._model import Model, pair
from mrp._mrp import ArgumentError, Progress, StateError
from mrp._points import PointClouds, PointFolder
from mrp._progress import ProgressSetting, Reporter

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# What ImageFolder reads.
FOLDER_OPTIONS = ("channels", "cache_bytes", "folder_layout", "exif_orientation")
# What PointFolder reads.
POINT_OPTIONS = ("point_features", "face_samples")


class NotFittedError(StateError, ValueError, AttributeError):
    """The estimator is not fitted yet."""


def seed_of(random_state: Any) -> int:
    """The seed behind an integer, or drawn from a numpy generator."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    raise ArgumentError(f"random_state {random_state!r} is neither an integer nor a numpy generator")


def _parameters_of(info: dict[str, Any]) -> dict[str, Any]:
    """The parameters that make such a model anew, from the keys of a Hugging Face configuration."""
    names = {
        "encoder": "architecture",
        "stem": "stem",
        "width": "base_width" if "base_width" in info else "hidden_size",
        "cell_size": "cell_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "channels": "num_channels",
        "layer_norm_eps": "layer_norm_eps",
        "decoder_width": "decoder_hidden_size",
        "decoder_depth": "decoder_num_hidden_layers",
        "decoder_heads": "decoder_num_attention_heads",
        "mask_ratio": "mask_ratio",
        "norm_pix_loss": "norm_pix_loss",
    }
    parameters = {name: info[key] for name, key in names.items() if key in info}
    if "num_groups" in info:
        parameters |= {"groups": info["num_groups"], "group_size": info["group_size"], "qkv_bias": info["qkv_bias"]}
    for name in (name for name in ("image", "patch") if f"{name}_size" in info):
        height, width = pair(info[f"{name}_size"])
        parameters |= {f"{name}_size": height} if height == width else {f"{name}_height": height, f"{name}_width": width}
    if "intermediate_size" in info:
        parameters["mlp_ratio"] = info["intermediate_size"] / info["hidden_size"]
    experts = info["libmrp"].get("experts", {})
    if experts.get("routing", "cluster") != "cluster":  # those are only made by upcycling
        parameters |= {f"moe_{name}": value for name, value in experts.items()}
    return parameters


class Estimator:
    """Parameters are `_own` ones and the library's options; both are attributes, and what was not given has its default."""

    _own: ClassVar[dict[str, Any]] = {"preset": None, "random_state": None, "progress": None, "image_shape": None}

    _from_file: bool
    model_: Model
    history_: list[dict[str, Any]]

    preset: str | None
    random_state: Any
    progress: ProgressSetting
    image_shape: Sequence[int] | None

    def __init__(self, **parameters: Any) -> None:
        for name, default in self._own.items():
            setattr(self, name, parameters.pop(name, default))
        self._check(parameters)
        vars(self).update(parameters)

    def _check(self, parameters: dict[str, Any]) -> None:
        if "seed" in parameters:
            raise ArgumentError("option 'seed' is called random_state here")
        check_keys(parameters)

    def _options(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self._own and option_of(name)}

    def __getattr__(self, name: str) -> Any:
        # Only reached for what was not set: options have the value that a run would use.
        if name.startswith("_") or option_of(name) is None:
            hint = ": call fit first" if name in ("model_", "history_", "classes_") else ""
            kind = NotFittedError if hint else AttributeError
            raise kind(f"{type(self).__name__} has no attribute '{name}'{hint}")
        return Config(vars(self).get("preset"))[name]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters that were given, by name, with the estimator's own ones."""
        parameters = {name: getattr(self, name) for name in self._own} | self._options()
        if deep:
            for name, value in list(parameters.items()):
                if isinstance(value, Estimator):
                    parameters |= {f"{name}__{key}": inner for key, inner in value.get_params().items()}
        return parameters

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name; those of an estimator among them as name__parameter."""
        nested = {name for name in parameters if "__" in name}
        plain = {name: value for name, value in parameters.items() if name not in nested}
        self._check({name: value for name, value in plain.items() if name not in self._own})
        vars(self).update(plain)
        for name in nested:
            outer, _, inner = name.partition("__")
            target = getattr(self, outer, None)
            if not isinstance(target, Estimator):
                raise ArgumentError(f"{type(self).__name__} has no estimator '{outer}' to set '{inner}' of")
            target.set_params(**{inner: parameters[name]})
        return self

    @property
    def _takes_points(self) -> bool:
        """Whether the encoder is one of point clouds."""
        if model := vars(self).get("model_"):
            return "num_groups" in model.info
        encoder = self.encoder
        if isinstance(encoder, Estimator):
            return encoder._takes_points
        return "num_groups" in encoder.info if isinstance(encoder, Model) else str(encoder).startswith("point_")

    def _dataset(self, X: Any, labels: Any = None) -> Dataset:
        if self._takes_points and not isinstance(X, Dataset):
            if not isinstance(X, str | os.PathLike):
                return PointClouds(X, labels)
            options = {name: value for name, value in self._options().items() if name in POINT_OPTIONS}
            return as_dataset(PointFolder(X, **options), labels)
        folder = {name: value for name, value in self._options().items() if name in FOLDER_OPTIONS}
        return as_dataset(X, labels, image_shape=self.image_shape, **folder)

    def _config(self, dataset: Dataset | None = None) -> Config:
        """The options of a run. The images' own channels and size are used where none were given."""
        config = Config(self.preset, **self._options())
        if self.random_state is not None:
            config["seed"] = seed_of(self.random_state)
        if dataset is not None:
            _, channels, height, width = dataset.shape
            if not config.is_set("channels"):
                config["channels"] = channels
            points = isinstance(dataset, PointClouds)  # its encoder says how many groups of how many points it wants
            if height and width and not points and not config.is_set("image_size", "image_height", "image_width"):
                config["image_height"] = height
                config["image_width"] = width
        return config

    def _begin(self) -> None:
        """Says that fit does not go on with what was read from a file: as in scikit-learn, it begins anew."""
        if vars(self).pop("_from_file", False):
            logger.warning(
                "fit begins with fresh weights, not with those of the file that this %s was read from: to go on with them pass it, or the "
                "file, as Classifier(encoder=...), or use its model_.pretrain or model_.finetune",
                type(self).__name__,
            )

    def _run(self, train: Callable[..., bool], dataset: Dataset, config: Config, callback: Callable[[Progress], Any] | None) -> None:
        with Reporter(self.history_, self.progress, callback) as reporter:
            train(dataset, config, callback=reporter)

    @classmethod
    def _of_model(cls, model: Model) -> Self:
        estimator = cls(**_parameters_of(model.info))
        estimator.model_ = model
        estimator.history_ = []
        estimator._from_file = True
        return estimator

    def save(self, path: Any) -> None:
        """Write the model as a safetensors file, and its configuration as JSON beside it."""
        self.model_.save(path)

    def __repr__(self) -> str:
        own = {name: getattr(self, name) for name, default in self._own.items() if getattr(self, name) is not default}
        given = ", ".join(f"{name}={value!r}" for name, value in (own | self._options()).items())
        return f"{type(self).__name__}({given})"

    def plot_history(self) -> "Figure":
        """A matplotlib figure of the loss and the learning rate, epoch by epoch."""
        from mrp._plots import plot_history

        return plot_history(self.history_)

    def plot_attention(self, X: Any, *, layer: int = 0) -> "Figure":
        """A matplotlib figure that shows, for each image and head, where the class token looks in a block (0: the last)."""
        from mrp._plots import plot_attention

        dataset = self._dataset(X)
        pictures = dataset.images(size=self.model_.image_shape[1:])
        return plot_attention(pictures, self.model_.attention(dataset, layer=layer), self.model_.grid)

    def _repr_html_(self) -> str:
        from mrp._html import estimator_html

        return estimator_html(self)

    _kind: ClassVar[str] = "transformer"

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn calls this, so it is there.
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags, TransformerTags

        learns_classes = self._kind == "classifier"
        return Tags(
            estimator_type=self._kind,
            target_tags=TargetTags(required=learns_classes),
            classifier_tags=ClassifierTags() if learns_classes else None,
            transformer_tags=None if learns_classes else TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


PARAMETERS = """
    preset : name of a set of option values ({presets}), or None
    random_state : int or numpy generator; fixes weights, masks, order and augmentation; None: 0
    progress : True, False, or a callable that is given every progress; None: a bar on terminals and in notebooks
    image_shape : (height, width), or the three sizes of an image, for images that come flat: (count, values)""".strip("\n")


def document(cls: type, *sections: str) -> None:
    """Completes a class's docstring: where it says {parameters}, the options of the library's table."""
    text = PARAMETERS.format(presets=", ".join(presets())) + "\n" + documented(*sections)
    cls.__doc__ = (cls.__doc__ or "").replace("{parameters}", text.lstrip())
