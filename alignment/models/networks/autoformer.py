"""AutoFormer tiny, small and base (Chen et al., 2021): blocks that differ in heads and inner width."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["autoformer_base", "autoformer_small", "autoformer_tiny"]

# Embedding width, then each block's heads and ratio of the inner width, as the published searches chose them.
_TINY = (
    192,
    (3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3),
    (3.5, 3.5, 3.0, 3.5, 3.0, 3.0, 4.0, 4.0, 3.5, 4.0, 3.5, 4.0, 3.5),
)
_SMALL = (
    384,
    (6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7),
    (3.0, 3.5, 3.0, 3.5, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.5, 4.0),
)
_BASE = (
    576,
    (9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10),
    (3.5, 3.5, 4.0, 3.5, 4.0, 3.5, 3.5, 3.0, 4.0, 4.0, 3.0, 4.0, 3.0, 3.5),
)
_HEAD = 64
_PATCH = 16
_REACH = 14


class RelativePosition(nn.Module):
    """Learned codes of the vertical and horizontal distance between tokens, apart for the class token.

    Parameters
    ----------
    grid : int
        Tokens a side.
    """

    index_y: Tensor
    index_x: Tensor

    def __init__(self, grid: int) -> None:
        super().__init__()
        # Code 0 belongs to the class token; distances beyond the reach share the outermost code.
        self.table_y = nn.Parameter(torch.zeros(2 * _REACH + 2, _HEAD))
        self.table_x = nn.Parameter(torch.zeros(2 * _REACH + 2, _HEAD))
        nn.init.trunc_normal_(self.table_y, std=0.02)
        nn.init.trunc_normal_(self.table_x, std=0.02)
        place = torch.arange(grid * grid)
        for name, where in (("index_y", place // grid), ("index_x", place % grid)):
            distance = (where[None] - where[:, None]).clamp(-_REACH, _REACH) + _REACH + 1
            self.register_buffer(name, functional.pad(distance, (1, 0, 1, 0)), persistent=False)

    def forward(self) -> Tensor:
        """Return the codes (token, token, channel of a head)."""
        return self.table_y[self.index_y] + self.table_x[self.index_x]


class Attention(nn.Module):
    """Self-attention with heads of 64 at any width, and relative positions in keys and values.

    Parameters
    ----------
    width, heads, grid : int
        Embedding width, heads, tokens a side.
    """

    def __init__(self, width: int, heads: int, grid: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * heads * _HEAD)
        self.rel_pos_embed_k = RelativePosition(grid)
        self.rel_pos_embed_v = RelativePosition(grid)
        self.proj = nn.Linear(heads * _HEAD, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, width) to the same shape."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, _HEAD).permute(2, 0, 3, 1, 4)
        score = q @ k.transpose(-2, -1)
        score = score + torch.einsum("bhnd,nmd->bhnm", q, self.rel_pos_embed_k())
        weight = (score * _HEAD**-0.5).softmax(dim=-1)
        mixed = weight @ v + torch.einsum("bhnm,nmd->bhnd", weight, self.rel_pos_embed_v())
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, -1))
        return out


class Block(nn.Module):
    """Attention and a two-layer perceptron, each after a normalisation and added to its input.

    Parameters
    ----------
    width, heads : int
        Embedding width and heads.
    ratio : float
        Of the perceptron's inner width.
    grid : int
        Tokens a side.
    """

    def __init__(self, width: int, heads: int, ratio: float, grid: int) -> None:
        super().__init__()
        self.attn_layer_norm = nn.LayerNorm(width)
        self.attn = Attention(width, heads, grid)
        self.ffn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, int(width * ratio))
        self.act = nn.GELU()
        self.fc2 = nn.Linear(int(width * ratio), width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, width) to the same shape."""
        x = x + self.attn(self.attn_layer_norm(x))
        added: Tensor = x + self.fc2(self.act(self.fc1(self.ffn_layer_norm(x))))
        return added


class Patches(nn.Module):
    """Patches of 16 pixels, each to a token.

    Parameters
    ----------
    width, grid : int
        Embedding width and tokens a side.
    """

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.grid_size = (grid, grid)
        self.proj = nn.Conv2d(3, width, _PATCH, stride=_PATCH)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, H, W) to tokens (B, N, width)."""
        tokens: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return tokens


class AutoFormer(nn.Module):
    """Patches, a class token, the blocks, and a linear layer on the mean of the patch tokens.

    Parameters
    ----------
    width : int
        Embedding width.
    heads, ratios : sequence
        One value for each block.
    num_classes, image_size : int
        Outputs, and side of the images.
    """

    def __init__(
        self,
        width: int,
        heads: tuple[int, ...],
        ratios: tuple[float, ...],
        num_classes: int,
        image_size: int,
    ) -> None:
        super().__init__()
        grid = image_size // _PATCH
        self.patch_embed = Patches(width, grid)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, grid * grid + 1, width))
        self.blocks = nn.Sequential(*(Block(width, h, r, grid) for h, r in zip(heads, ratios, strict=True)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, 3, image_size, image_size) to (B, num_classes)."""
        x = self.patch_embed(image)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        x = self.norm(self.blocks(x))
        scores: Tensor = self.head(x[:, 1:].mean(dim=1))
        return scores


def autoformer_tiny(num_classes: int = 1000, image_size: int = 224) -> nn.Module:
    """Build AutoFormer-tiny (5.7 million weights at 224 px)."""
    return _build(_TINY, num_classes, image_size)


def autoformer_small(num_classes: int = 1000, image_size: int = 224) -> nn.Module:
    """Build AutoFormer-small (23 million weights at 224 px)."""
    return _build(_SMALL, num_classes, image_size)


def autoformer_base(num_classes: int = 1000, image_size: int = 224) -> nn.Module:
    """Build AutoFormer-base (54 million weights at 224 px)."""
    return _build(_BASE, num_classes, image_size)


def _build(plan: Any, num_classes: int, image_size: int) -> nn.Module:
    width, heads, ratios = plan
    return AutoFormer(width, heads, ratios, num_classes, image_size)
