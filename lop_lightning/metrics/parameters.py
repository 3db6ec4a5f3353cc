"""Measures of parameters and gradients: size, distance travelled, size of the updates.

Parameters are a dict name -> `[*batch, *shape]` whose first `batch_dims` dims (1 for a seed axis) are shared by all
tensors; every measure pools all tensors of the dict and is `[*batch]`. For one layer, pass that layer's tensors.
All raise ValueError for an empty dict and for two dicts whose names or shapes differ.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

Parameters = Mapping[str, Tensor]


def weight_magnitude(params: Parameters, batch_dims: int = 0) -> Tensor:
    """Mean |θ| over every entry of every tensor: `[*batch]`.

    Source: Dohare et al. 2024.

    >>> weight_magnitude({"weight": torch.tensor([[1.0, -3.0]]), "bias": torch.tensor([2.0])}).item()
    2.0
    """
    flat = _flat(params, batch_dims)
    total = torch.stack([x.abs().sum(-1) for x in flat]).sum(0)
    return total / sum(x.shape[-1] for x in flat)


def weight_norm(params: Parameters, batch_dims: int = 0) -> Tensor:
    """Norm ‖θ‖₂ of all the tensors taken as one vector: `[*batch]`.

    >>> weight_norm({"weight": torch.tensor([[3.0, 0.0]]), "bias": torch.tensor([4.0])}).item()
    5.0
    """
    return torch.stack([x.norm(dim=-1) for x in _flat(params, batch_dims)]).norm(dim=0)


def distance_from_initialisation(params: Parameters, initial: Parameters, batch_dims: int = 0) -> Tensor:
    """Distance ‖θ − θ₀‖₂ from the initial parameters: `[*batch]`.

    Source: Kumar, Marklund & Van Roy 2023 (L2 Init).

    >>> distance_from_initialisation({"w": torch.tensor([3.0, 5.0])}, {"w": torch.tensor([0.0, 1.0])}).item()
    5.0
    """
    return weight_norm(_difference(params, initial), batch_dims)


def relative_distance_from_initialisation(params: Parameters, initial: Parameters, batch_dims: int = 0) -> Tensor:
    """Distance ‖θ − θ₀‖₂ / ‖θ₀‖₂ in units of the initial norm: `[*batch]`; 0 where 0/0, infinite from a zero start.

    >>> relative_distance_from_initialisation({"w": torch.tensor([3.0])}, {"w": torch.tensor([2.0])}).item()
    0.5
    """
    return _ratio(distance_from_initialisation(params, initial, batch_dims), weight_norm(initial, batch_dims))


def update_size(before: Parameters, after: Parameters, batch_dims: int = 0) -> Tensor:
    """Relative size ‖θ_after − θ_before‖₂ / ‖θ_before‖₂ of an update: `[*batch]`; 0 where 0/0.

    The effective learning rate of scale-invariant networks. Source: Lyle et al. 2024.

    >>> update_size({"w": torch.tensor([4.0])}, {"w": torch.tensor([3.0])}).item()
    0.25
    """
    return relative_distance_from_initialisation(after, before, batch_dims)


def gradient_norm(grads: Parameters, batch_dims: int = 0) -> Tensor:
    """Norm √Σ g² of all the gradients taken as one vector: `[*batch]`.

    >>> gradient_norm({"w": torch.tensor([0.6]), "b": torch.tensor([0.8])}).item()
    1.0
    """
    return weight_norm(grads, batch_dims)


def gradient_sparsity(grads: Parameters, batch_dims: int = 0) -> Tensor:
    """Fraction of gradient entries that are exactly zero: `[*batch]`.

    One minus the normalised L0 norm; large where many units are dead.

    >>> gradient_sparsity({"w": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.0, 0.0])}).item()
    0.75
    """
    flat = _flat(grads, batch_dims)
    zeros = torch.stack([(x == 0).sum(-1) for x in flat]).sum(0)
    return zeros.to(flat[0].dtype) / sum(x.shape[-1] for x in flat)


def _flat(params: Parameters, batch_dims: int) -> list[Tensor]:
    """Flatten every tensor to `[*batch, numel]`."""
    if not params:
        raise ValueError("no parameters to measure: the dict is empty")
    batch = {name: tuple(x.shape[:batch_dims]) for name, x in params.items()}
    if len(set(batch.values())) > 1 or any(len(shape) < batch_dims for shape in batch.values()):
        raise ValueError(f"all tensors must share their first {batch_dims} dims, got {batch}")
    # reshape and not flatten: a scalar parameter has no dim to flatten.
    return [x.reshape(*x.shape[:batch_dims], x.shape[batch_dims:].numel()) for x in params.values()]


def _difference(params: Parameters, reference: Parameters) -> dict[str, Tensor]:
    if params.keys() != reference.keys():
        raise ValueError(f"names in one dict only: {sorted(params.keys() ^ reference.keys())}")
    # Checked because broadcasting would answer a wrong shape with a wrong number.
    differing = [name for name, x in params.items() if x.shape != reference[name].shape]
    if differing:
        raise ValueError(f"shapes differ between the two dicts: {differing}")
    return {name: x - reference[name] for name, x in params.items()}


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return (numerator / denominator).masked_fill(numerator == 0, 0.0)
