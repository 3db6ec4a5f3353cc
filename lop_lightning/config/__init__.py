"""The configuration: what the command line may say, and the objects it stands for."""

from lop_lightning.config.build import build
from lop_lightning.config.overrides import composed, config_directory, config_groups, jobs, parse, plainly
from lop_lightning.config.sweeps import expanded
from lop_lightning.config.trust import check_trusted
from lop_lightning.config.usage import usage

__all__ = [
    "build", "check_trusted", "composed", "config_directory", "config_groups", "expanded", "jobs", "parse", "plainly",
    "usage",
]  # fmt: skip
