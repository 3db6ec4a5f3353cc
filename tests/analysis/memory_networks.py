"""Networks whose weights were found by hand, so that it is known what they answer, and files that keep them."""

from dataclasses import replace

import torch
import yaml

from lop_lightning.analysis.timescales.solved import Solved
from lop_lightning.networks.leaky import LeakyNetwork
from lop_lightning.records.checkpoint_io import write_tensors
from lop_lightning.tasks.bit_sequences import BitSequences


def exact_parity(ns, spare=2, spare_tau=(5.0, 7.0), repeats=()):
    """A leaky network (no leak but in spare units) that has solved parity of every N of ``ns``; all else it guesses.

    Units 0 … L-2 (L the largest N) hold the last bits but one: h_i = x[t-i]. For every N there are N counters
    f(x[t] + h_0 + … + h_{N-2} - j), and u_0 + 2 Σ_j (-1)^j u_j > ½ says that the sum is odd: f is the identity from 0
    on and almost 0 below. Spare units are driven, and are neither heard nor read.
    """
    longest = max(ns)
    chain = longest - 1
    units = chain + sum(ns) + spare
    timed = bool(repeats)
    network = LeakyNetwork(
        (4 * longest + 1, 1 + timed), 2 * len(ns), units, "continuous" if timed else "default",
        ragged=True, timed=timed, heads=len(ns),
    )  # fmt: skip
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name != "tau":
                p.zero_()
        network.tau.copy_(torch.linspace(0.5, 0.9, units))
        network.inward.weight[0] = 1
        for i in range(1, chain):
            network.recurrent.weight[i, i - 1] = 1
        first = chain
        for head, n in enumerate(ns):
            for j in range(n):
                network.inward.weight[first + j] = 1
                network.recurrent.weight[first + j, : n - 1] = 1
                network.inward.bias[first + j] = -j
                network.head.weight[2 * head + 1, first + j] = 1 if j == 0 else 2 * (-1) ** j
            network.head.bias[2 * head + 1] = -0.5
            first += n
        if spare:
            network.tau[-spare:] = torch.tensor(spare_tau)
            network.inward.weight[-spare:] = 1
            network.recurrent.bias[-spare:] = 0.3
    low, high = min(ns), longest
    sequences = BitSequences("zero_one", "uniform", repeats)
    return Solved(network.eval(), 3, low, high, low, "by_n", 600, "parity", sequences)


def as_dms(solved):
    """For N = 2 the question has the opposite answer."""
    return replace(solved, question="dms", sequences=BitSequences("zero_one", 0.5, ()))


def random_solved(n=6, heads=3, seed=0, dynamics="mod", activation="tanh", **settings):
    torch.manual_seed(seed)
    network = LeakyNetwork(
        (9, 1), 2 * heads, n, dynamics, activation, ragged=True, heads=heads, **settings
    ).eval()  # fmt: skip
    return Solved(network, seed, 2, 1 + heads, 2, "by_n", 10, "parity", BitSequences("zero_one", "uniform", ()))


def step_by_step(network, x, h, weights=None):
    """States ``[B, T, n]`` from the formulas, for bits ``x [B, T]``; ``weights`` replaces some parameters."""
    own = {**network.state_dict(), **(weights or {})}
    tau = own["tau"].clamp(min=1)
    w = own["recurrent.weight"] * (1 - torch.eye(len(h[0])))
    f = {"leaky_relu": lambda u: torch.where(u < 0, 0.01 * u, u), "relu": torch.relu, "tanh": torch.tanh}
    states = []
    for t in range(x.shape[1]):
        u = h @ w.T + own["recurrent.bias"] + x[:, t, None] * own["inward.weight"][:, 0] + own["inward.bias"]
        if network.dynamics == "default":
            h = f[network.activation]((1 - 1 / tau) * h + u / tau)
        else:
            h = (1 - 1 / tau) * h + f[network.activation](u) / tau
        states.append(h)
    return torch.stack(states, 1)


def shares(network, head, x, answers, h, weights=None):
    """Share of right answers of one readout at the last steps, sequence by sequence."""
    own = {**network.state_dict(), **(weights or {})}
    logits = step_by_step(network, x.float(), h, weights) @ own["head.weight"].T + own["head.bias"]
    said = logits[..., 2 * head + 1] > logits[..., 2 * head]
    return (said[:, -answers.shape[1] :] == answers).double().mean(1).numpy()


def last_bits_parity(bits, n):
    """Parity of the last N bits at every step from N - 1 on."""
    return torch.stack([bits[:, t - n + 1 : t + 1].long().sum(1) % 2 for t in range(n - 1, bits.shape[1])], 1)


def curriculum_run(root, config, networks, heads="by_n", first_n=2):
    """A run directory with networks ``{(seed, low, high): network}`` kept in it."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    for (seed, low, high), network in networks.items():
        content = {
            "run": "r", "seed": seed, "task": max(0, high - 2), "updates": 100 * high, "low": low, "high": high,
            "first_n": first_n, "heads": heads, "tensors": dict(network.state_dict()),
        }  # fmt: skip
        write_tensors(root / "networks" / "solved" / f"seed-{seed:05d}-N-{high:05d}.pt", content)
    return root
