"""What the estimators that learn from labels have in common: the network that they begin with."""

import os
from typing import Any, ClassVar, Self

from mrp._config import option_of
from mrp._estimator import Estimator
from mrp._model import Model
from mrp._mrp import ArgumentError

# Options of the network that a pretrained encoder leaves open.
_HEAD_OPTIONS = ("pooling", "classes")


class Supervised(Estimator):
    """An estimator with a parameter `encoder`: a fitted estimator, a Model, the path of a safetensors file, or the name of a size."""

    _own: ClassVar[dict[str, Any]] = {"encoder": None, **Estimator._own}

    encoder: Any

    def __init__(self, encoder: Any = None, **parameters: Any) -> None:
        super().__init__(encoder=encoder, **parameters)

    def _pretrained(self) -> Model | None:
        """A copy of the encoder's model, or None when the encoder is to be made."""
        encoder = self.encoder
        if isinstance(encoder, Estimator):
            encoder = encoder.model_
        if isinstance(encoder, Model):
            model = encoder.copy()
        elif isinstance(encoder, os.PathLike) or (isinstance(encoder, str) and (os.sep in encoder or encoder.endswith(".safetensors"))):
            model = Model.load(encoder)
        elif encoder is None or isinstance(encoder, str):
            return None
        else:
            raise ArgumentError(f"encoder {encoder!r} is neither an estimator, a model, a path nor a name")
        for name in self._options():
            option = option_of(name)
            if option and option.section == "network" and name not in _HEAD_OPTIONS:
                raise ArgumentError(f"option '{name}' cannot be given: the pretrained encoder has it already")
        return model

    def __sklearn_clone__(self) -> Self:
        # A pretrained encoder is what the parameter is about: copies for cross-validation keep it.
        return type(self)(**self.get_params(deep=False))
