"""The networks that are compared: libmrp's options of each, and what PyTorch's side needs to build the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PHASE = {"mae": "pretrain", "sup": "finetune"}
"""Phase of a workload by the beginning of its name."""


@dataclass(frozen=True)
class Workload:
    """One network on images of one size; `tiny` replaces options where a CPU has to do."""

    name: str
    image: int
    batch: int
    options: dict[str, Any]
    tiny: dict[str, Any] = field(default_factory=dict)
    images: int = 2048

    @property
    def phase(self) -> str:
        """pretrain or finetune."""
        return PHASE[self.name.split("_")[0]]

    def sizes(self, tiny: bool) -> tuple[int, int, int]:
        """Side of an image, images per step, images in memory."""
        return (32, 8, 32) if tiny else (self.image, self.batch, self.images)

    def config(self, tiny: bool) -> dict[str, Any]:
        """All options but device and precision. Images are not augmented, so that the device is what is measured."""
        image, batch, _ = self.sizes(tiny)
        fixed = {"image_size": image, "batch_size": batch, "augmentation": "none", "mean": "0.5,0.5,0.5", "std": "0.25,0.25,0.25"}
        recipe = {"learning_rate": 1e-4, "schedule": "constant", "warmup_epochs": 0, "weight_decay": 0.05, "epochs": 100000}
        return fixed | recipe | self.options | (self.tiny if tiny else {})


_TINY_VIT = {"encoder": "vit_micro", "patch_size": 8, "decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "mae_vit_base_224",
            224,
            256,
            {"encoder": "vit_base", "patch_size": 16, "decoder_width": 512, "decoder_depth": 8, "decoder_heads": 16},
            _TINY_VIT,
        ),
        Workload(
            "mae_vit_tiny_32",
            32,
            1024,
            {"encoder": "vit_tiny", "patch_size": 4, "decoder_width": 128, "decoder_depth": 4, "decoder_heads": 4},
            _TINY_VIT,
            images=16384,
        ),
        Workload("sup_resnet50_224", 224, 256, {"encoder": "resnet50", "classes": 10}, {"width": 8}),
    )
}
