"""What is computed from finished runs: statistics over seeds, records, loss of plasticity, and their networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lop_lightning.analysis.networks import load_network

__all__ = ["load_network"]


def __getattr__(name: str) -> Any:
    # Not before it is asked for: records alone are read without PyTorch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lop_lightning.analysis.networks import load_network

    return load_network
