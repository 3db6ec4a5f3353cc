"""The ready sweeps of the recurrent study: which networks and methods each compares."""

import pytest
from lab import composed
from omegaconf import OmegaConf

from lop_lightning.config import expanded, jobs, parse
from lop_lightning.config.overrides import options_of

FOUR = ["bp", "l2", "shrink_and_perturb", "cbp"]
SWEEPS = {  # sweep of conf/sweep/recurrent_lop -> its networks, and a key with the values that it goes through
    "imagenet_binary/methods": (["mlp", "mlp", "lstm", "lstm"], "algo.name", ["bp", "shrink_and_perturb"] * 2),
    "lang_binary/methods": (["gru"] * 4, "algo.name", FOUR),
    "lang_binary/lstm_methods": (["lstm"] * 2, "algo.name", ["bp", "cbp"]),
    "lang_reshuffle/methods": (["gru"] * 4, "algo.name", FOUR),
    "lang_reshuffle/lstm_methods": (["lstm"] * 4, "algo.name", FOUR),
    "lang_reshuffle/lengths": (["gru"] * 5, "task.max_length", [10, 25, 40, 55, 70]),
    "lang_reshuffle/sizes": (["gru"] * 3, "model.hidden", [32, 64, 128]),
    "mnist_binary/methods": (["mlp", "mlp", "lstm", "lstm"], "algo.name", ["bp", "shrink_and_perturb"] * 2),
    "mnist_binary/additions": (["gru", "mlp", "lstm", "gru"], "algo.name", ["bp", "cbp", "cbp", "cbp"]),
    "mnist_reshuffle/methods": (
        ["mlp"] * 6 + ["lstm"] * 2, "algo.name",
        ["bp", "l2", "l2", "l2", "shrink_and_perturb", "cbp", "bp", "shrink_and_perturb"],
    ),
    "mnist_reshuffle/recurrent": (["lstm"] * 4 + ["gru"] * 4, "algo.name", FOUR * 2),
}  # fmt: skip


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_it_compares(sweep):
    networks, key, values = SWEEPS[sweep]
    configs = [composed(line) for line in jobs(parse(expanded([f"+sweep=recurrent_lop/{sweep}"])))]
    assert [config.model.name for config in configs] == networks
    assert [OmegaConf.select(config, key) for config in configs] == values


def test_every_one_is_tested():
    assert {name for name in options_of("sweep") if name.startswith("recurrent_lop")} == {
        f"recurrent_lop/{sweep}" for sweep in SWEEPS
    }
