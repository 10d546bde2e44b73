"""Mask-reconstruction pretraining (MRP) and fine-tuning of vision encoders, on the CPU.

    import mrp

    mae = mrp.MaskedAutoencoder(encoder="vit_mini", epochs=20).fit(images)         # no labels are needed
    classifier = mrp.Classifier(encoder=mae, epochs=50).fit(few_images, few_labels)
    classifier.score(test_images, test_labels)

Estimators: MaskedAutoencoder, Classifier, LinearProbe, Segmenter, InstanceSegmenter. Images: arrays or CPU tensors (uint8, uint16 or
float32; NCHW or NHWC), Pillow images, the path of a folder, Dataset, ImageFolder, MaskFolder. Point clouds: PointClouds,
PointFolder.
Below them the objects of the C interface: Config, Dataset, Model, Trainer. `options()` lists every option by name.
Weights of others: load() reads timm's and transformers' files, to_torch_state_dict() and from_torch() exchange them with PyTorch.
`mrp.lab` is the experiment of the paper that explains why pretraining helps.
The same seed gives the same bits, whatever the number of threads.
Warnings and what a run does are told to `logging.getLogger("mrp")`: Python shows its warnings without further ado.
"""

import os
import sys

# Folders of packages, in which the library looks for plug-ins of devices (docs/devices.md).
os.environ.setdefault("MRP_PLUGIN_FOLDERS", os.pathsep.join(folder for folder in sys.path if folder))

from mrp import _log as _log  # hears the library
from mrp import lab
from mrp._classifier import Classifier, LinearProbe, knn_score
from mrp._coco import masks_from_coco
from mrp._config import Config, Option, Preset, options, presets
from mrp._dataset import Dataset, ImageFolder, MaskFolder, long_tail
from mrp._devices import devices
from mrp._estimator import NotFittedError
from mrp._instance_segmenter import InstanceSegmenter
from mrp._masked_autoencoder import MaskedAutoencoder, load
from mrp._model import Experts, Instances, Model, Reconstruction
from mrp._mrp import (
    ArgumentError,
    BusyError,
    Cancelled,
    DeviceError,
    ForkedError,
    FormatError,
    HandleError,
    InternalError,
    MrpError,
    MrpIOError,
    MrpMemoryError,
    NumericError,
    Progress,
    StateError,
    UnsupportedError,
    VersionError,
    build_info,
    memory_in_use,
)
from mrp._mrp import version as _version
from mrp._points import PointClouds, PointFolder
from mrp._segmenter import Segmenter
from mrp._torch import from_torch, to_torch_state_dict
from mrp._trainer import Plan, Trainer

__version__ = _version()

__all__ = [
    "ArgumentError",
    "BusyError",
    "Cancelled",
    "Classifier",
    "Config",
    "Dataset",
    "DeviceError",
    "Experts",
    "ForkedError",
    "FormatError",
    "HandleError",
    "ImageFolder",
    "InstanceSegmenter",
    "Instances",
    "InternalError",
    "LinearProbe",
    "MaskFolder",
    "MaskedAutoencoder",
    "Model",
    "MrpError",
    "MrpIOError",
    "MrpMemoryError",
    "NotFittedError",
    "NumericError",
    "Option",
    "Plan",
    "PointClouds",
    "PointFolder",
    "Preset",
    "Progress",
    "Reconstruction",
    "Segmenter",
    "StateError",
    "Trainer",
    "UnsupportedError",
    "VersionError",
    "build_info",
    "devices",
    "from_torch",
    "knn_score",
    "lab",
    "load",
    "long_tail",
    "masks_from_coco",
    "memory_in_use",
    "options",
    "presets",
    "to_torch_state_dict",
]
