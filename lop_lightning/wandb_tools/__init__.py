"""Weights & Biases: the live mirror of a run's record, the same from finished runs, and the workspace to look at it."""

from lop_lightning.wandb_tools.logger import wandb_logger

__all__ = ["wandb_logger"]
