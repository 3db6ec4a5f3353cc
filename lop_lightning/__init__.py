"""The laboratory for loss of plasticity."""

__version__ = "0.1.0"
