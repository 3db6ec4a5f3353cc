"""Labels of bit sequences that ask for the last N bits: parity and delayed match, for many N at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Labels = Callable[[Tensor, Sequence[int]], Tensor]
"""From bits ``[..., T]`` and K lengths of memory N to classes ``[..., K]``, int64."""


def parity_labels(bits: Tensor, ns: Sequence[int]) -> Tensor:
    """Whether the number of ones among the last N bits is odd: (x[T-N] + … + x[T-1]) mod 2, for each N.

    Args:
        bits: ``[..., T]``, whole numbers 0 or 1 of any integer type.
        ns: K lengths N, from 1 to T.

    Returns:
        int64 ``[..., K]``.
    """
    latest_first = bits[..., -max(ns) :].flip(-1)
    ones = latest_first.cumsum(-1, dtype=torch.uint8)  # may wrap round at 256, which leaves its parity
    return _chosen(ones, ns) & 1


def dms_labels(bits: Tensor, ns: Sequence[int]) -> Tensor:
    """Delayed match to sample: 1 where the last bit equals the one N-1 steps before it, x[T-N] = x[T-1], for each N.

    Args:
        bits: ``[..., T]``, whole numbers 0 or 1 of any integer type.
        ns: K lengths N, from 1 to T.

    Returns:
        int64 ``[..., K]``.
    """
    latest_first = bits[..., -max(ns) :].flip(-1)
    return _chosen(latest_first == latest_first[..., :1], ns)


def _chosen(by_length: Tensor, ns: Sequence[int]) -> Tensor:
    """Of values ``[..., N_max]`` for N = 1, 2, … those of ``ns``, as int64."""
    places = torch.as_tensor(ns, device=by_length.device) - 1
    return by_length.index_select(-1, places).long()


def streaming_labels(bits: Tensor, n: int, task: str) -> Tensor:
    """The label at every step t, as if the sequence ended there, bit t included.

    Parity: (x[t-N+1] + … + x[t]) mod 2. Delayed match: x[t-N+1] = x[t].

    Args:
        bits: ``[..., T]``, whole numbers 0 or 1 of any integer type.
        n: Length N.
        task: ``parity`` or ``dms``.

    Returns:
        int64 ``[..., T-N+1]``, for t = N-1, …, T-1; the steps before know fewer than N bits.
    """
    if task == "dms":
        return (bits[..., n - 1 :] == bits[..., : bits.shape[-1] - n + 1]).long()
    if task != "parity":
        raise ValueError(f"no task {task!r}: parity or dms")
    ones = torch.nn.functional.pad(bits.cumsum(-1, dtype=torch.int64), (1, 0))
    return (ones[..., n:] - ones[..., :-n]) & 1


def parity_in_time(bits: Tensor, n: int) -> Tensor:
    """Parity of the N bits **before** step t, (x[t-N] + … + x[t-1]) mod 2, for t = N, …, T-1: int64 ``[..., T-N]``.

    The published generator's labels in time: the last window, which ends with the sequence, is not among them.
    """
    return streaming_labels(bits, n, "parity")[..., :-1]
