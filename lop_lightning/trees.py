"""Nested dictionaries of tensors: the form in which every state of the lab is kept, saved and lifted over seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

Tree = dict[str, Any]
"""A dict whose values are tensors or trees."""


def tree_map(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:
    """``function`` applied leaf by leaf to trees of one structure."""
    return {
        name: tree_map(function, value, *(other[name] for other in others))
        if isinstance(value, dict)
        else function(value, *(other[name] for other in others))
        for name, value in tree.items()
    }


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of the tree, in its own order."""
    found: list[Tensor] = []
    for value in tree.values():
        found.extend(leaves(value) if isinstance(value, dict) else [value])
    return found


def rebuild(like: Tree, tensors: list[Tensor]) -> Tree:
    """A tree of the structure of ``like`` from its leaves in order."""
    remaining = iter(tensors)
    return tree_map(lambda _: next(remaining), like)


def unshared(old: Tree, new: Tree) -> Tree:
    """``new`` in the order of ``old``; a leaf that was ``old``'s elsewhere (the weights before a step) is a copy.

    So that ``new`` can be written over ``old`` leaf by leaf.
    """
    before = leaves(old)

    def own(place: Tensor, tensor: Tensor) -> Tensor:
        # By "is": older compilers cannot tell a tensor's id.
        shared = tensor is not place and any(tensor is other for other in before)
        return tensor.clone() if shared else tensor

    return tree_map(own, old, new)
