"""The representation of a network on data it was not trained on, gathered batch by batch: dormant units and ranks."""

from collections.abc import Mapping

import torch
from torch import Tensor

from .spectra import effective_rank, singular_values, srank


class Representation:
    """What a network's hidden layers make of a data set, however large.

    `add` takes the features of all hidden layers on a batch, in order, each `[..., N, n]` with positions folded into
    samples; `measures` gives, each `[...]`:

    - `rarely_active_units`: fraction of all hidden units non-zero on less than `share` of the samples (strict).
    - `effective_rank`, `srank_99`: of the last hidden layer's features on all batches (see `spectra`).

    Each is NaN where a feature that it looks at is not finite.

    Source: Dohare et al. 2024, class-incremental CIFAR-100, the analysis after the run.
    """

    def __init__(self, share: float = 0.01) -> None:
        self.share = share
        self._active: dict[str, Tensor] = {}
        self._samples: dict[str, int] = {}
        self._last: list[Tensor] = []

    def add(self, features: Mapping[str, Tensor]) -> None:
        """One batch: features `[..., N, n]` by layer, from input to output.

        Raises:
            ValueError: no layer.
        """
        if not features:
            raise ValueError("a representation needs at least one hidden layer")
        for name, h in features.items():
            active = (h != 0).sum(-2).double().masked_fill(~h.isfinite().all(-2), float("nan"))
            self._active[name] = self._active.get(name, 0) + active
            self._samples[name] = self._samples.get(name, 0) + h.shape[-2]
        self._last.append(features[name])

    def measures(self) -> dict[str, Tensor]:
        """The three measures over everything that was added."""
        # Tensor by tensor: CUDA divides by a Python number through its rounded reciprocal.
        counts = self._samples
        shares = torch.cat([n / torch.full_like(n, counts[name]) for name, n in self._active.items()], -1)
        rare = (shares < self.share).to(shares.dtype).mean(-1).masked_fill(shares.isnan().any(-1), float("nan"))
        s = singular_values(torch.cat(self._last, -2))
        return {
            "rarely_active_units": rare.to(s.dtype),
            "effective_rank": effective_rank(s),
            "srank_99": srank(s),
        }
