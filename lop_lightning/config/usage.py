"""What ``lop --help`` says: how a command is written, and the groups of the configuration with their options."""

from __future__ import annotations

from lop_lightning.config.overrides import config_groups
from lop_lightning.config.sweeps import command_options

TEXT = """\
lop trains networks on a stream of tasks, many seeds at once, and records what that does to their plasticity.

  lop                                        the default: permuted digits, backpropagation, ten seeds
  lop task=gmm algo=cbp seeds=10             choose options of groups, set keys
  lop algo=cbp algo.replacement_rate=1e-3    a key of a group
  lop experiment=dohare2024/permuted_mnist/cbp +scale=laptop      a published setting, in minutes; smoke: in seconds
  lop experiment=hebbian/memo_ma_100 preset=original   an experiment, with the authors' own training instead of ours
  lop -m algo=bp,l2,cbp optimizer.lr=1e-2,1e-3        all combinations, one after another
  lop -m +sweep=step_sizes algo=cbp          a ready sweep: conf/sweep/step_sizes.yaml has its lists of values
  lop -m experiment=hebbian/batch            a ready sweep of experiments goes by its name too
  lop -m +tune=step_size algo=bp,cbp         a search on seeds of its own, then the best on seeds=
  lop --rerun RUN                            the same once more, in reruns/ (or runs_dir=): is it the same, bit for bit?
  lop -m hardware=local ...                  the same on all cores of this machine, a job each
  lop -m hardware=slurm_gpu ...              the same as a job array of a SLURM cluster (submitit); one job: without -m

The same command again goes on where it was stopped, or shows the result. lop-status says how runs are
doing, lop-report draws the figures.

Groups and their options (sweep and tune: of lop -m):

{groups}

All keys and their values: lop --cfg job, with any settings behind it. Of Hydra itself: lop --hydra-help."""


def usage() -> str:
    """The text, with the options as they are in ``conf/``; those in folders are listed folder by folder.

    Of sweeps and searches, which are few, the outermost folders have a line each.
    """
    lines, commands = [], command_options()
    for group, options in {**config_groups(), **commands}.items():
        folders: dict[str, list[str]] = {}
        for option in options:
            *parents, name = option.split("/", 1) if group in commands else option.rsplit("/", 1)
            folders.setdefault("/".join([group, *parents]), []).append(name)
        lines += [f"{folder}: {', '.join(names)}" for folder, names in sorted(folders.items())]
    return TEXT.format(groups="\n".join(lines))
