"""torchvision's residual networks with any base width, number of channels and stem."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

SIZES: dict[str, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet34": (BasicBlock, [3, 4, 6, 3]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
    "resnet101": (Bottleneck, [3, 4, 23, 3]),
}


@dataclass(frozen=True)
class ResNetConfig:
    """One network."""

    architecture: str
    stem: str
    base_width: int
    channels: int
    image_height: int
    image_width: int
    classes: int


class NarrowResNet(ResNet):
    """torchvision's network with another base width, number of channels and stem: its constructor fixes 64, 3 and ImageNet's."""

    def __init__(self, case: ResNetConfig) -> None:
        """Builds the layers as torchvision's constructor does, with the numbers of `case`."""
        nn.Module.__init__(self)
        block, blocks = SIZES[case.architecture]
        width = case.base_width
        self._norm_layer = nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        kernel, stride = (7, 2) if case.stem == "imagenet" else (3, 1)
        self.conv1 = nn.Conv2d(case.channels, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if case.stem == "imagenet" else nn.Identity()
        self.layer1 = self._make_layer(block, width, blocks[0])
        self.layer2 = self._make_layer(block, width * 2, blocks[1], stride=2)
        self.layer3 = self._make_layer(block, width * 4, blocks[2], stride=2)
        self.layer4 = self._make_layer(block, width * 8, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(width * 8 * block.expansion, case.classes)


RESNETS = {
    "sup_resnet18_cifar": ResNetConfig("resnet18", "cifar", 64, 3, 32, 32, 10),
    "sup_resnet50_224": ResNetConfig("resnet50", "imagenet", 64, 3, 224, 224, 10),
}
