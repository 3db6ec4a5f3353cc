"""The networks that were published with the curriculum study, read from their checkpoint files without running them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.errors import LopError
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.tasks.bit_sequences import BitSequences

_ONE_LAYER = {
    "tau": "parameterlist.0",
    "inward.weight": "modulelist.0.weight",
    "inward.bias": "modulelist.0.bias",
    "recurrent.weight": "modulelist.1.weight",
    "recurrent.bias": "modulelist.1.bias",
}
_HEAD = re.compile(r"modulelist\.(\d+)\.(weight|bias)")
_FOLDER = re.compile(r"(cumulative|single_nocurr|single|sliding_(\d+)_(\d+))_(parity|dms)(?:_(.*))?_network_(\d+)")
_FILE = re.compile(r"rnn_N(\d+)_N(\d+)")
_MOD, _REPEATS = re.compile(r"mod_(leaky_?relu|[a-z]+)", re.IGNORECASE), re.compile(r"duplicates\[([\d, ]+)\]")
_ACTIVATIONS = {"leakyrelu": "leaky_relu", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid"}


@dataclass(frozen=True)
class Published:
    """What the place of a published file says: ``{curriculum}_{task}[_{affixes}]_network_{number}/rnn_N{low}_N{high}``.

    Attributes:
        path: The file.
        curriculum: ``cumulative``, ``single``, ``single_nocurr`` or ``sliding_<heads>_<forgotten>``.
        question: ``parity`` or ``dms``.
        number: The network's number.
        low: Smallest N that it was trained on; 0: ``rnn_init``, from before training.
        high: The N that it has solved; 0: none.
        dynamics: ``default``, ``mod`` or ``continuous``.
        activation: The nonlinearity.
        repeats: In continuous time the numbers of times each bit was shown.
    """

    path: Path
    curriculum: str
    question: str
    number: int
    low: int
    high: int
    dynamics: str
    activation: str
    repeats: tuple[int, ...]


def published_name(path: str | Path) -> Published:
    """What a published file's name and its folder's say.

    Raises:
        LopError: they are not named so.
    """
    path = Path(path)
    folder, file = _FOLDER.fullmatch(path.parent.name), _FILE.fullmatch(path.name)
    if folder is None:
        expected = "a folder {curriculum}_{task}[_{affixes}]_network_{number}"
        raise LopError(f"{path} does not lie in {expected}: load_published reads it all the same")
    if file is None and path.name != "rnn_init":
        raise LopError(f"{path} is not called rnn_init or rnn_N{{low}}_N{{high}}: load_published reads it all the same")
    low, high = (int(file[1]), int(file[2])) if file else (0, 0)
    affixes = folder[5] or ""
    mod, shown = _MOD.search(affixes), _REPEATS.search(affixes)
    activation = _ACTIVATIONS.get(mod[1].replace("_", "").lower() if mod else "leakyrelu")
    if activation is None:
        raise LopError(f"{path}: no such nonlinearity as in {affixes}; expected mod_ and {', '.join(_ACTIVATIONS)}")
    repeats = tuple(int(k) for k in shown[1].split(",")) if shown else ()
    dynamics = "continuous" if shown else "mod" if mod else "default"
    return Published(path, folder[1], folder[4], int(folder[6]), low, high, dynamics, activation, repeats)


def published_files(root: str | Path) -> Iterator[Published]:
    """All files below a folder of published networks, by curriculum, number and N; what is named otherwise is left."""
    there = [path for path in Path(root).glob("*_network_*/rnn_*") if _FOLDER.fullmatch(path.parent.name)]
    names = [published_name(path) for path in there if path.name == "rnn_init" or _FILE.fullmatch(path.name)]
    yield from sorted(names, key=lambda one: (one.path.parent.name, one.high, one.low))


def load_published(
    path: str | Path, dynamics: str = "default", activation: str = "leaky_relu", initial_state: float = 0.1
) -> LeakyNetwork:
    """A published network, in evaluation mode, of as many units and readouts as the file has.

    Args:
        path: The file: ``{'state_dict': …}`` with ``parameterlist.0`` (τ ``[n]``), ``modulelist.0`` (input),
            ``modulelist.1`` (recurrent) and ``modulelist.2``, ``.3``, … (readouts of two outputs each).
        dynamics: See :class:`LeakyNetwork`; the file does not say it.
        activation: See :class:`LeakyNetwork`; the file does not say it either.
        initial_state: See :class:`LeakyNetwork`.

    Raises:
        LopError: the file cannot be read, has another layout, or tensors whose sizes do not fit together.

    Source: spec of the time-scale system, section 2 (Khajehabdollahi et al. 2024).
    """
    tensors = _translated(path, _read(Path(path)))
    timed, heads = dynamics == "continuous", len(tensors["head.weight"]) // 2
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights, which the file's replace
        network = LeakyNetwork(
            (1, 1 + timed), 2 * heads, len(tensors["tau"]), dynamics, activation, initial_state=initial_state,
            ragged=True, timed=timed, heads=heads,
        )  # fmt: skip
    network.load_state_dict({**network.state_dict(), **tensors})
    return network.eval()


def published_solved(path: str | Path, dynamics: str | None = None, activation: str | None = None) -> Solved:
    """A published network with what its name says; readouts go by the place of N in the range that was trained.

    Args:
        path: The file.
        dynamics: Other than the folder's name says.
        activation: Other than the folder's name says.

    Raises:
        LopError: as :func:`published_name` and :func:`load_published`.
    """
    name = published_name(path)
    network = load_published(path, dynamics or name.dynamics, activation or name.activation)
    sequences = BitSequences("zero_one", "uniform" if name.question == "parity" else 0.5, name.repeats)
    first = name.low or 2
    return Solved(network, name.number, name.low, name.high, first, "position", 0, name.question, sequences)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise LopError(f"{path} cannot be read as a published network ({reason})") from None
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise LopError(f"{path} is no published network: it has no state_dict of tensors")
    return state


def _translated(path: str | Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters by our names, in float32; checks the layout and all sizes."""
    heads = sorted({int(match[1]) for key in state if (match := _HEAD.fullmatch(key)) and int(match[1]) > 1})
    expected = [*_ONE_LAYER.values(), *(f"modulelist.{k}.{part}" for k in heads for part in ("weight", "bias"))]
    if not heads or heads != list(range(2, 2 + len(heads))) or set(expected) != set(state):
        unusual = sorted(set(state) ^ set(expected))[:3]
        known = "parameterlist.0, modulelist.0 and .1, and readouts modulelist.2, .3, …"
        raise LopError(f"{path} has another layout than {known}: {', '.join(unusual) or 'no readouts in a row'}")
    n = len(state["modulelist.0.bias"])
    sizes = {"parameterlist.0": (n,), "modulelist.0.weight": (n, 1), "modulelist.0.bias": (n,)}
    sizes |= {"modulelist.1.weight": (n, n), "modulelist.1.bias": (n,)}
    for key, tensor in state.items():
        size = sizes.get(key, (2, n) if key.endswith("weight") else (2,))
        if tuple(tensor.shape) != size:
            raise LopError(f"{path}: {key} is {list(tensor.shape)}, expected {list(size)} with {n} units")
    ours = {name: state[key] for name, key in _ONE_LAYER.items()}
    for part in ("weight", "bias"):
        ours[f"head.{part}"] = torch.cat([state[f"modulelist.{k}.{part}"] for k in heads])
    return {name: tensor.detach().float() for name, tensor in ours.items()}
