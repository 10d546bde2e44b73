"""Feature pyramids and the segmentation head of libmrp, written out in PyTorch from their definitions (docs/dense.md)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_resnet import NarrowResNet


class Pyramid(nn.Module):
    """Laterals 1 x 1, from the coarsest down plus the coarser one enlarged (nearest), outputs 3 x 3; batch norms."""

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in channels)
        self.lateral_norm = nn.ModuleList(nn.BatchNorm2d(width) for _ in channels)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in channels)
        self.output_norm = nn.ModuleList(nn.BatchNorm2d(width) for _ in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        inner = [norm(conv(x)) for conv, norm, x in zip(self.lateral, self.lateral_norm, maps)]
        for level in range(len(inner) - 2, -1, -1):
            inner[level] = inner[level] + F.interpolate(inner[level + 1], size=inner[level].shape[-2:], mode="nearest")
        return [norm(conv(x)) for conv, norm, x in zip(self.output, self.output_norm, inner)]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SimplePyramid(nn.Module):
    """ViTDet: one map at 4, 2, 1 and 1/2 times its resolution."""

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.scale = nn.ModuleList([
            nn.Sequential(
                nn.ConvTranspose2d(dim, dim // 2, 2, 2), ChannelNorm(dim // 2, eps=1e-6), nn.GELU(),
                nn.ConvTranspose2d(dim // 2, dim // 4, 2, 2),
            ),
            nn.Sequential(nn.ConvTranspose2d(dim, dim // 2, 2, 2)),
            nn.Sequential(),
            nn.Sequential(nn.MaxPool2d(2, 2)),
        ])  # fmt: skip
        channels = [dim // 4, dim // 2, dim, dim]
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1, bias=False) for c in channels)
        self.lateral_norm = nn.ModuleList(ChannelNorm(width, eps=1e-6) for _ in channels)
        self.output = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in channels)
        self.output_norm = nn.ModuleList(ChannelNorm(width, eps=1e-6) for _ in channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = zip(self.scale, self.lateral, self.lateral_norm, self.output, self.output_norm)
        return [output_norm(output(norm(lateral(scale(x))))) for scale, lateral, norm, output, output_norm in levels]


class Segmenter(nn.Module):
    """Scores of the classes of pixels [B, K, H, W]."""

    def __init__(self, encoder: nn.Module, fpn: nn.Module, width: int, classes: int):
        super().__init__()
        self.encoder, self.fpn = encoder, fpn
        self.segment_head = nn.ModuleDict({
            "conv": nn.Conv2d(width, width, 3, padding=1, bias=False), "norm": nn.BatchNorm2d(width),
            "classifier": nn.Linear(width, classes),
        })  # fmt: skip

    def maps(self, images: Tensor) -> list[Tensor] | Tensor:
        net = self.encoder
        if isinstance(net, NarrowResNet):
            x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
            maps = []
            for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
                x = layer(x)
                maps.append(x)
            return maps
        x = net.patch_embed(images)
        x = torch.cat([net.cls_token.expand(len(x), -1, -1), x], 1) + net.pos_embed
        for block in net.blocks:
            x = block(x)
        return x[:, 1:].transpose(1, 2).reshape(len(x), -1, *net.config.grid)

    def forward(self, images: Tensor) -> Tensor:
        levels = self.fpn(self.maps(images))
        size = levels[0].shape[-2:]
        total = levels[0]
        for level in levels[1:]:
            total = total + F.interpolate(level, size=size, mode="bilinear", align_corners=False)
        x = F.relu(self.segment_head["norm"](self.segment_head["conv"](total)))
        x = self.segment_head["classifier"](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return F.interpolate(x, size=images.shape[-2:], mode="bilinear", align_corners=False)

    def names(self) -> dict[str, Tensor]:
        unused = ("encoder.fc.", "encoder.head.", "encoder.fc_norm.")
        state = {name: value for name, value in self.state_dict().items() if value.dim() > 0 and not name.startswith(unused)}
        return {name.removeprefix("encoder."): value for name, value in state.items()}
