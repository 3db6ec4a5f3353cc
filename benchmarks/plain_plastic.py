"""The plain loop of plastic networks on movies: frame by frame, W ∘ P at every frame, PyTorch's own Adam."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


class PlainMemo:
    """One multiplicative plastic layer with a logistic function, and a readout at each scene's last frame.

    Args:
        tensors: Parameters of a network of ours.
        scene_time: Frames of a scene.
        lr: Step size.
        clip: Norm that gradients are clipped to.
    """

    def __init__(self, tensors: Mapping[str, Tensor], scene_time: int, lr: float, clip: float) -> None:
        self.parameters = {name: t.clone().requires_grad_() for name, t in tensors.items()}
        self.scene_time, self.clip = scene_time, clip
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, T]`` of movies ``[B, T·S, d]``."""
        own = self.parameters
        weight, bias, eta = (own[f"layers.0.{name}"] for name in ("weight", "bias", "eta"))
        decay = own["layers.0.decay"].sigmoid()
        p = x.new_zeros(len(x), *weight.shape)
        logits = []
        for t in range(x.shape[1]):
            effective = weight * p + weight
            h = torch.sigmoid((effective @ x[:, t, :, None]).squeeze(-1) + bias)
            p = decay * p + eta * (h[:, :, None] * x[:, t, None])
            if (t + 1) % self.scene_time == 0:
                logits.append(F.linear(h, own["head.weight"], own["head.bias"]))
        return torch.cat(logits, 1)

    def step(self, x: Tensor, labels: Tensor) -> float:
        """One update; returns the loss before it."""
        self.optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(self.forward(x), labels.to(x.dtype))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        self.optimizer.step()
        return loss.item()
