"""The analyses of networks that have solved an N: what is measured of one, and of which ones by default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lop_lightning.analysis.networks import in_ranges, solved_networks
from lop_lightning.analysis.timescales.ablation import GROUPS, ablation, leaky
from lop_lightning.analysis.timescales.depth import DURATIONS, accuracy_by_depth
from lop_lightning.analysis.timescales.dimension import dimensionality
from lop_lightning.analysis.timescales.exponential_fits import exclude, fit_timescales
from lop_lightning.analysis.timescales.gated import GatedStates
from lop_lightning.analysis.timescales.perturbation import perturbation, perturbed
from lop_lightning.analysis.timescales.retraining import retraining
from lop_lightning.analysis.timescales.simulate import simulate
from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.config import build
from lop_lightning.errors import LopError, check_count
from lop_lightning.networks.recurrent import GatedNetwork
from lop_lightning.tasks.bit_sequences import VALUES

Progress = Callable[[int, int], None]
Config = Mapping[str, Any]
Settings = Mapping[str, Any]
Measure = Callable[[Solved, Config, Settings, Progress], pd.DataFrame]
"""(network, its run's configuration, settings, what is told of progress) -> table."""
SHORTEST = 32
"""Steps that a simulation has at least: autocovariances are fitted up to a lag of 30."""
NOT = "no"
"""Setting of ``retrain``: the network as it had solved N; else a kind of perturbation, after which it is trained on."""
FEW = 6
"""How many N are looked at by default where a look takes long."""


@dataclass(frozen=True)
class Study:
    """An analysis.

    Attributes:
        help: What it finds out, for a list of commands.
        measure: Makes the table of one network.
        options: Names and defaults of the settings that its numbers depend on.
        which: Of which N by default: ``all``, a ``few`` spread evenly over those that all seeds solved, or the ``last``
            of these.
        kept_as: Name of the folder of its results; several studies may read the same ones.
    """

    help: str
    measure: Measure
    options: Mapping[str, Any]
    which: str
    kept_as: str


def trained_taus(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """τ of every unit, as trained (below 1 they count as 1, and are stuck)."""
    tau = leaky(solved).tau.detach().double().numpy()
    return pd.DataFrame({"unit": np.arange(len(tau)), "tau": tau})


def simulated(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """From one long simulation: τ_net of every unit, and the dimension of every trial.

    ``kind`` says what a row is of: a ``unit``, their sum (``population``), or a ``trial``. Of gated networks the hidden
    states are looked at.

    Raises:
        ConfigError: the simulation is too short.
    """
    check_count("steps", options["steps"], SHORTEST)
    network: Any = solved.network
    gated = isinstance(network, GatedNetwork)
    found = simulate(
        GatedStates(network) if gated else network,
        trials=options["trials"],
        steps=options["steps"],
        probability=solved.sequences.probability,
        values=VALUES[solved.sequences.values],
        repeats=solved.sequences.repeats_of(0) if solved.sequences.repeats else None,
        initial_state=0.0 if gated else network.initial_state,
        progress=progress,
    )
    columns = GatedStates(network).columns("hidden") if gated else slice(None)
    fits, everybody = fit_timescales(found.autocovariance[:, columns]), fit_timescales(found.population)
    dimensions = dimensionality(found.covariance[:, columns, columns])
    names = ("tau_net", "model", "a", "c", "tau1", "tau2", "aic1", "aic2", "bic1", "bic2")
    units = pd.DataFrame({name: getattr(fits, name) for name in names})
    units.insert(0, "number", np.arange(len(units)))
    units.insert(0, "kind", "unit")
    units["excluded"] = exclude(fits.tau_net)
    trials = pd.DataFrame({"kind": "trial", "number": np.arange(len(dimensions.trials)),
                           "dimension": dimensions.trials, "probability": found.probabilities})  # fmt: skip
    population = pd.DataFrame({"kind": "population", "number": 0, **{n: getattr(everybody, n) for n in names}})
    return pd.concat([units, population, trials], ignore_index=True)


def ablated_units(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """See :func:`lop_lightning.analysis.timescales.ablation.ablation`."""
    table = ablation(
        solved, count=options["count"], groups=GROUPS, mode=options["mode"], repeats=options["repeats"],
        progress=progress,
    )  # fmt: skip
    return table.drop(columns=["seed", "N"])


def perturbed_networks(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """See :func:`lop_lightning.analysis.timescales.perturbation.perturbation`."""
    table = perturbation(solved, options["kind"], repeats=options["repeats"], progress=progress)
    return table.drop(columns=["seed", "N"])


def retrained_networks(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """See :func:`lop_lightning.analysis.timescales.retraining.retraining`; trained as the run was, perturbed or not."""
    task, kind = config["task"], options["perturbed"]
    if kind != NOT:
        solved = perturbed(solved, kind, options["epsilon"])
    table = retraining(
        solved, build("optimizer", config["optimizer"]), span=options["span"], periods=options["periods"],
        updates=task["updates_per_task"], check_batches=task["check_batches"], batch_size=task["batch_size"],
        progress=progress,
    )  # fmt: skip
    return table.drop(columns=["seed", "N"])


def every_head(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """See :func:`lop_lightning.analysis.timescales.depth.accuracy_by_depth`."""
    return accuracy_by_depth(solved, batches=options["batches"], progress=progress).drop(columns=["seed", "N"])


def every_duration(solved: Solved, config: Config, options: Settings, progress: Progress) -> pd.DataFrame:
    """As :func:`every_head`, for bits of all durations that were published, and the N that were trained.

    Raises:
        LopError: the network was trained in discrete time.
    """
    if not solved.sequences.repeats:
        raise LopError("a bit has a duration in continuous time only, and this run was trained with task.repeats=[]")
    ns = range(solved.low, solved.high + 1)
    found = accuracy_by_depth(solved, ns, DURATIONS, batches=options["batches"], progress=progress)
    return found.drop(columns=["seed", "N"])


_SIMULATION = {"trials": 10, "steps": 20_000}
STUDIES = {
    "tau": Study("trained time constants", trained_taus, {}, "all", "tau"),
    "network": Study("time constants of the units' activity in the network", simulated, _SIMULATION, "few", "network"),
    "dimension": Study("how many dimensions the states fill", simulated, _SIMULATION, "few", "network"),
    "ablate": Study("accuracy without one slow, fast or random unit", ablated_units,
                    {"count": 20, "mode": "unit", "repeats": 10}, "last", "ablate"),
    "perturb": Study("accuracy with perturbed weights or time constants", perturbed_networks,
                     {"kind": "normalized_rnn", "repeats": 10}, "last", "perturb"),
    "retrain": Study("accuracy on larger N after a short training on them", retrained_networks,
                     {"span": 4, "periods": 20, "perturbed": NOT, "epsilon": 0.1}, "last", "retrain"),
    "accuracy": Study("accuracy of every readout", every_head, {"batches": 10}, "last", "accuracy"),
    "duration": Study("accuracy for longer and shorter bits (continuous time)", every_duration, {"batches": 1}, "last",
                      "duration"),
}  # fmt: skip
"""Name of the command -> analysis."""


def chosen_networks(
    run: Path, which: str, ns: Sequence[int] | None, seeds: Sequence[int] | None
) -> list[tuple[int, int]]:
    """Pairs (N, seed) of a run whose networks are to be looked at.

    Args:
        run: The run directory.
        which: See :class:`Study`.
        ns: The N that are asked for; ``None``: those of ``which``.
        seeds: The seeds; ``None``: all.

    Raises:
        LopError: the run kept no such network.
    """
    solved = solved_networks(run)
    if not solved:
        raise LopError(f"{run} has solved nothing: an analysis needs a run of task=parity or task=dms that has")
    for seed in seeds or []:
        if seed not in solved:
            raise LopError(f"{run}: seed {seed} has solved nothing; seeds that have are {in_ranges(sorted(solved))}")
    there = {seed: own for seed, own in solved.items() if seeds is None or seed in seeds}
    if ns is None:
        ns = _by_default(there, which, run)
    known = sorted({n for own in there.values() for n in own})
    for n in ns:
        if n not in known:
            closest = min(known, key=lambda k: abs(k - n))
            raise LopError(f"{run}: no seed has solved N={n}; solved were {in_ranges(known)}, the nearest is {closest}")
    return [(n, seed) for n in ns for seed, own in there.items() if n in own]


def _by_default(solved: Mapping[int, Sequence[int]], which: str, run: Path) -> list[int]:
    everywhere = sorted(set.intersection(*(set(own) for own in solved.values())))
    if which == "all":
        return sorted({n for own in solved.values() for n in own})
    if not everywhere:
        raise LopError(f"{run}: no N was solved by all seeds; say which to look at with --n")
    if which == "last":
        return everywhere[-1:]
    places = np.linspace(0, len(everywhere) - 1, min(FEW, len(everywhere))).round().astype(int)
    return [everywhere[place] for place in dict.fromkeys(places.tolist())]
