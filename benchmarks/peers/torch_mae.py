"""Masked autoencoder and ViT classifier in PyTorch: the independent definition that libmrp is checked and timed against.

Follows He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners" (arXiv 2111.06377); parameter names are those that
facebookresearch/mae and timm use. Images may be non-square, patches too, and any number of channels is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pooling = Literal["mean", "cls"]
NORM_EPS = 1e-6


@dataclass(frozen=True)
class ViTConfig:
    """Geometry of a ViT encoder; image and patch are (height, width)."""

    channels: int = 3
    image: tuple[int, int] = (32, 32)
    patch: tuple[int, int] = (4, 4)
    width: int = 192
    depth: int = 12
    heads: int = 3
    mlp_ratio: int = 4

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and per row."""
        return self.image[0] // self.patch[0], self.image[1] // self.patch[1]

    @property
    def patches(self) -> int:
        """Number of patches in an image."""
        return self.grid[0] * self.grid[1]

    @property
    def patch_values(self) -> int:
        """Numbers in one patch."""
        return self.patch[0] * self.patch[1] * self.channels


@dataclass(frozen=True)
class MAEConfig(ViTConfig):
    """A ViT encoder with the decoder and loss of a masked autoencoder."""

    decoder_width: int = 128
    decoder_depth: int = 4
    decoder_heads: int = 4
    mask_ratio: float = 0.75
    norm_pix_loss: bool = True

    @property
    def len_keep(self) -> int:
        """Visible patches: truncated in binary floating point, as the published code does."""
        return int(self.patches * (1 - self.mask_ratio))


class MAEOutput(NamedTuple):
    """loss: scalar; pred: [B, L, p*p*C]; mask: [B, L], 1 = hidden; ids_keep: [B, len_keep]."""

    loss: Tensor
    pred: Tensor
    mask: Tensor
    ids_keep: Tensor


def sincos_positions(grid: tuple[int, int], width: int) -> Tensor:
    """Fixed 2-D sin-cos table [1, 1 + rows * columns, width] in float32; the first row (cls) is zero.

    A patch in row y and column x gets [sin x w, cos x w, sin y w, cos y w]: the column comes first.
    """
    if width % 4:
        raise ValueError(f"width {width} is not a multiple of 4")
    quarter = width // 4
    omega = torch.pow(10000.0, -torch.arange(quarter, dtype=torch.float64) / quarter)
    y = torch.arange(grid[0], dtype=torch.float64).repeat_interleave(grid[1])
    x = torch.arange(grid[1], dtype=torch.float64).repeat(grid[0])
    column, row = torch.outer(x, omega), torch.outer(y, omega)
    table = torch.cat([column.sin(), column.cos(), row.sin(), row.cos()], dim=1)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), table]).unsqueeze(0).float()


def patchify(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """[B, C, H, W] -> [B, L, p*q*C]; inside a patch the order is row, column, channel (channel fastest)."""
    batch, channels, height, width = images.shape
    rows, columns = height // patch[0], width // patch[1]
    cells = images.reshape(batch, channels, rows, patch[0], columns, patch[1])
    return cells.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, patch[0] * patch[1] * channels)


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens [B, L, width]."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.channels, config.width, config.patch, config.patch)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, L, width], patches in row-major order."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with a fused qkv projection (rows ordered q, k, v; head-major inside each)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]."""
        batch, tokens, width = x.shape
        query, key, value = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """Two linear layers with an exact (erf) GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, width * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def initialise(module: nn.Module) -> None:
    """Xavier-uniform linear weights, zero biases; the patch weight as a matrix, its bias at the convolution's default."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, PatchEmbed):
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.weight.shape[0], -1))
    for name in ("cls_token", "mask_token"):
        if hasattr(module, name):
            nn.init.normal_(getattr(module, name), std=0.02)


class MaskedAutoencoder(nn.Module):
    """ViT encoder over the visible patches, light ViT decoder over all, mean squared error on the hidden ones."""

    pos_embed: Tensor
    decoder_pos_embed: Tensor

    def __init__(self, config: MAEConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.register_buffer("pos_embed", sincos_positions(config.grid, config.width))
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.decoder_embed = nn.Linear(config.width, config.decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_width))
        self.register_buffer("decoder_pos_embed", sincos_positions(config.grid, config.decoder_width))
        self.decoder_blocks = nn.ModuleList(
            Block(config.decoder_width, config.decoder_heads, config.mlp_ratio) for _ in range(config.decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(config.decoder_width, eps=NORM_EPS)
        self.decoder_pred = nn.Linear(config.decoder_width, config.patch_values)
        initialise(self)

    def encode(self, images: Tensor, ids_keep: Tensor) -> Tensor:
        """[B, C, H, W] and the visible patches' indices [B, K] -> [B, 1 + K, width], tokens in the order of ids_keep."""
        x = self.patch_embed(images) + self.pos_embed[:, 1:]
        x = torch.gather(x, 1, ids_keep.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        """[B, 1 + K, width] -> predictions for all patches [B, L, p*p*C], in image order."""
        x = self.decoder_embed(latent)
        batch, patches = ids_restore.shape
        hidden = self.mask_token.expand(batch, patches + 1 - x.shape[1], -1)
        tokens = torch.cat([x[:, 1:], hidden], dim=1)
        tokens = torch.gather(tokens, 1, ids_restore.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        x = torch.cat([x[:, :1], tokens], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]

    def reconstruction_loss(self, images: Tensor, pred: Tensor, mask: Tensor) -> Tensor:
        """Mean squared error of a patch, averaged over the hidden patches of the whole batch."""
        target = patchify(images, self.config.patch)
        if self.config.norm_pix_loss:
            mean, variance = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)  # unbiased: divides by n - 1
            target = (target - mean) / (variance + 1e-6).sqrt()
        error = (pred - target).square().mean(-1)
        return (error * mask).sum() / mask.sum()

    def forward(self, images: Tensor, noise: Tensor) -> MAEOutput:
        """The len_keep patches of each image with the smallest noise [B, L] stay visible."""
        ids_shuffle = noise.argsort(dim=1)
        ids_restore = ids_shuffle.argsort(dim=1)
        ids_keep = ids_shuffle[:, : self.config.len_keep]
        mask = torch.ones_like(noise, dtype=images.dtype)
        mask[:, : self.config.len_keep] = 0
        mask = torch.gather(mask, 1, ids_restore)
        pred = self.decode(self.encode(images, ids_keep), ids_restore)
        return MAEOutput(self.reconstruction_loss(images, pred, mask), pred, mask, ids_keep)


class Classifier(nn.Module):
    """ViT classifier: mean of the patch tokens -> fc_norm -> head, or norm -> cls token -> head.

    Positions are fixed sin-cos tables; `learned_positions` makes them a parameter that starts there, as mae's fine-tuning does.
    """

    def __init__(self, config: ViTConfig, classes: int, pooling: Pooling = "mean", learned_positions: bool = False) -> None:
        super().__init__()
        self.config = config
        self.pooling = pooling
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        table = sincos_positions(config.grid, config.width)
        if learned_positions:
            self.pos_embed = nn.Parameter(table)
        else:
            self.register_buffer("pos_embed", table)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.depth))
        if pooling == "mean":
            self.fc_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        else:
            self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.head = nn.Linear(config.width, classes)
        initialise(self)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)  # mae's fine-tuning starts with an almost silent head

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> logits [B, classes]."""
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        pooled = self.fc_norm(x[:, 1:].mean(1)) if self.pooling == "mean" else self.norm(x)[:, 0]
        return self.head(pooled)


def load_encoder(classifier: Classifier, pretrained: MaskedAutoencoder) -> None:
    """Copies what a classifier and a masked autoencoder share; fc_norm and head keep their start values."""
    own = classifier.state_dict()
    classifier.load_state_dict(own | {name: value for name, value in pretrained.state_dict().items() if name in own})


def pretrain_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for all but biases and 1-D tensors; cls and mask tokens are 3-D, hence decayed (main_pretrain's rule)."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    exempt = [p for name, p in named if p.ndim == 1 or name.endswith(".bias")]
    decayed = [p for name, p in named if not (p.ndim == 1 or name.endswith(".bias"))]
    return [{"params": exempt, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]


def layer_id(name: str, depth: int) -> int:
    """0: patch embedding, cls token, positions; i + 1: block i; depth + 1: everything after."""
    if name.startswith(("cls_token", "pos_embed", "patch_embed")):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else depth + 1


def finetune_groups(model: Classifier, lr: float, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """lr times layer_decay^(depth + 1 - layer id); no weight decay for 1-D tensors, cls token and positions (main_finetune's rule).

    Each group also carries its `lr_scale`, so that a schedule can set lr = scheduled * lr_scale.
    """
    depth = model.config.depth
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        scale = layer_decay ** (depth + 1 - layer_id(name, depth))
        exempt = parameter.ndim == 1 or name in ("cls_token", "pos_embed")
        decay = 0.0 if exempt else weight_decay
        group = groups.setdefault((scale, decay), {"params": [], "lr": lr * scale, "lr_scale": scale, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


def cosine_lr(epoch: float, *, lr: float, min_lr: float, warmup_epochs: float, epochs: float) -> float:
    """Linear warm-up from 0, then half a cosine down to min_lr; epoch = step / steps_per_epoch."""
    if epoch < warmup_epochs:
        return lr * epoch / warmup_epochs
    fraction = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return min_lr + (lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * fraction))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the scheduled rate, times each group's lr_scale where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def pretrain_step(model: MaskedAutoencoder, optimizer: torch.optim.Optimizer, images: Tensor, noise: Tensor) -> float:
    """One optimiser step of main_pretrain; the loss before it."""
    return _step(optimizer, lambda: model(images, noise).loss)


def finetune_step(
    model: Classifier, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, label_smoothing: float = 0.0
) -> float:
    """One optimiser step of main_finetune without mixing; the loss before it."""
    return _step(optimizer, lambda: F.cross_entropy(model(images), labels, label_smoothing=label_smoothing))


def _step(optimizer: torch.optim.Optimizer, objective: Callable[[], Tensor]) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = objective()
    loss.backward()
    optimizer.step()
    return loss.item()


MAE_PRESETS: dict[str, MAEConfig] = {
    "mae_vit_tiny_32": MAEConfig(),
    "mae_vit_base_224": MAEConfig(
        image=(224, 224), patch=(16, 16), width=768, depth=12, heads=12, decoder_width=512, decoder_depth=8, decoder_heads=16
    ),
    "mae_vit_cifar": MAEConfig(width=128, depth=6, heads=4, decoder_width=96, decoder_depth=2, decoder_heads=4),
}


def encoder_config(config: MAEConfig) -> ViTConfig:
    """The encoder's part of a masked autoencoder's configuration."""
    return ViTConfig(config.channels, config.image, config.patch, config.width, config.depth, config.heads, config.mlp_ratio)
