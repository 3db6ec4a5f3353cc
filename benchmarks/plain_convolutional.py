"""The plain convolutional networks that the laboratory's are compared with, as PyTorch's own modules make them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PlainConvNet(nn.Module):
    """Three convolutions with pooling and two hidden layers, for images of 32 x 32."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList((nn.Conv2d(3, 32, 5), nn.Conv2d(32, 64, 3), nn.Conv2d(64, 128, 3)))
        self.hidden = nn.ModuleList((nn.Linear(512, 128), nn.Linear(128, 128)))
        self.head = nn.Linear(128, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs."""
        for convolution in self.convolutions:
            x = F.max_pool2d(torch.relu(convolution(x)), 2)
        x = x.flatten(1)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.head(x)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs)
        self.second, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut: nn.Module = nn.Identity()
        if changes:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm1(self.first(x)))
        return torch.relu(self.norm2(self.second(h)) + self.shortcut(x))


class PlainResNet18(nn.Module):
    """The residual network for images of 32 x 32, its stem without stride and pooling."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 3, 1, 1), nn.BatchNorm2d(64)
        widths = (64, 128, 256, 512)
        blocks: list[nn.Module] = []
        for before, width in zip((64, *widths), widths):
            blocks += [_Block(before, width, 1 if width == 64 else 2), _Block(width, width, 1)]
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(512, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs."""
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))
