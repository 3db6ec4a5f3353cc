"""Plastic networks whose numbers were found by hand, so that it is known what they answer, and runs that keep them."""

import numpy as np
import pandas as pd
import torch
import yaml

from lop_lightning.networks.hebbian import Memo
from lop_lightning.records.checkpoint_io import write_tensors

D = 25
HEADER = ["seed", "task", "epoch", "update", "layer", "metric", "value"]
TASKS = {
    "familiarity": {"name": "familiarity", "_target_": "lop_lightning.tasks.familiarity.Familiarity"},
    "scenes": {"name": "scenes", "_target_": "lop_lightning.tasks.scenes.Scenes"},
    "parity": {"name": "parity", "_target_": "lop_lightning.tasks.parity.Parity"},
}
MEMO = {"name": "memo", "_target_": "lop_lightning.networks.Memo"}
LSTM = {"name": "lstm", "_target_": "lop_lightning.networks.LSTM", "hidden": 3, "bidirectional": False}
EXACT = MEMO | {"hidden_dims": [2], "plastic_types": ["A"], "hetero_rates": [1]}


def knows_the_last(out_dim=1, frames=200):
    """Recognises an item of 25 signs that is the one before it, and no other; unit 1 is silent.

    With λ almost 0, P(t) = -h(t-1) x(t-1)ᵀ and a(t) = 20 - h(t-1) x(t-1)·x(t): about 20 for what is new, -5 for what is
    the same. The readout says 5 - 10 h, or of two outputs -5 + 10 h for novel and 0 for familiar.
    """
    network = Memo((frames, D), out_dim, [2], ["A"], [1], ragged=True, read_every=1)
    with torch.no_grad():
        for name, value in (("weight", 0.0), ("eta", 0.0), ("bias", -50.0), ("decay", -30.0)):
            getattr(network.layers[0], name).fill_(value)
        network.layers[0].eta[0] = -1
        network.layers[0].bias[0] = 20
        network.head.weight.zero_()
        network.head.weight[0, 0] = -10 if out_dim == 1 else 10
        network.head.bias.zero_()
        network.head.bias[0] = 5 if out_dim == 1 else -5
    return network.eval()


def answers_of_last(x):
    """(h of unit 0, logit of one output) of :func:`knows_the_last` at every frame of ``x [T, 25]``, one by one."""
    h, logits, before, seen = [], [], 0.0, np.zeros(D)
    for frame in x:
        a = 20 - before * (seen @ frame)
        before, seen = 1 / (1 + np.exp(-a)), frame
        h.append(before)
        logits.append(5 - 10 * before)
    return np.array(h), np.array(logits)


def memo(seed=0, frames=400, **settings):
    """A fresh one of 4 and 3 units."""
    torch.manual_seed(seed)
    network = Memo((frames, D), 1, [4, 3], ["M", "A"], [1, 1], ragged=True, read_every=4, **settings)
    return network.eval()


def step_by_step(network, x):
    """P ``[T, H, F]`` of both layers of :func:`memo`, as each frame of ``x [T, 25]`` meets it, from the formulas."""
    own = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
    states = []
    for index, f in enumerate((np.tanh, lambda a: 1 / (1 + np.exp(-a)))):
        w, b, eta, raw = (own[f"layers.{index}.{name}"] for name in ("weight", "bias", "eta", "decay"))
        decay, p, met, h = 1 / (1 + np.exp(-raw)), np.zeros_like(w), [], []
        for frame in x:
            met.append(p)
            strength = w * (1 + p) if index == 0 else w + p
            h.append(f(strength @ frame + b))
            p = decay * p + eta * np.outer(h[-1], frame)
        states.append(np.array(met))
        x = np.array(h)
    return states


def hebbian_run(root, networks=(), task="familiarity", model=EXACT, rows=(), seeds=(0,), between=None, **settings):
    """A run directory with networks ``{(seed, r): network}`` that had solved R.

    ``between`` are those before periods, ``{period: networks of all seeds}``; ``rows`` are those of the record,
    ``settings`` the task's.
    """
    root.mkdir(parents=True, exist_ok=True)
    config = {
        "task": {**TASKS[task], **settings}, "model": model, "algo": {"name": "hebbian"},
        "optimizer": {"name": "adam", "lr": 0.01}, "seeds": list(seeds),
    }  # fmt: skip
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    pd.DataFrame(rows, columns=HEADER).to_csv(root / "record.csv", index=False, na_rep="nan")
    for (seed, r), network in dict(networks).items():
        content = {"run": "abc", "seed": seed, "task": r, "updates": 100 * r, "low": r, "high": r}
        path = root / "networks" / "solved" / f"seed-{seed:05d}-R-{r:05d}.pt"
        write_tensors(path, content | {"tensors": dict(network.state_dict())})
    for period, own in (between or {}).items():
        names = own[0].state_dict()
        tensors = {name: torch.stack([one.state_dict()[name] for one in own]) for name in names}
        content = {"run": "abc", "task": period, "seeds": list(seeds), "tensors": tensors}
        write_tensors(root / "networks" / f"task-{period:05d}.pt", content)
    return root


def curriculum_rows(ways, period=10, solved_after=None):
    """Rows of a curriculum over R: ``ways`` are, of each seed, (trained R, greatest R solved, given up) a period."""
    rows = []
    for seed, way in ways.items():
        for task, (trained, solved, capped) in enumerate(way):
            place = (seed, task, task, (task + 1) * period, "")
            values = {"trained_r": trained, "solved_r": solved, "capped": capped, "check_accuracy": 0.9}
            if (solved_after or {}).get((seed, task)):
                values["solved_after"] = solved_after[seed, task]
            rows += [(*place, name, float(value)) for name, value in values.items()]
    return rows
