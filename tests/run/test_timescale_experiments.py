"""The experiments and sweeps of the curriculum study: what each is, that it works, and what is refused."""

import pytest
import torch
from lab import configuration, rows
from omegaconf import OmegaConf

from lop_lightning import train
from lop_lightning.config import composed, config_directory, expanded, jobs, parse
from lop_lightning.config.overrides import options_of
from lop_lightning.experiment import prepare
from lop_lightning.records.checkpoint_io import read_tensors

BOTH = ("single", "cumulative")
LEAKY, GATED = ("mod", "mod_relu", "mod_tanh", "mod_sigmoid"), ("lstm", "gru")
METHODS = ("l2", "shrink_and_perturb", "cbp")
VARIANTS = {  # curriculum_task -> its variants
    **{f"{one}_parity": [*LEAKY, "fixed_tau", *GATED, "continuous", *METHODS] for one in BOTH},
    **{f"{one}_dms": ["mod", "fixed_tau"] for one in BOTH},
    "sliding_parity": ["mod", "published"],
    "sliding_dms": ["mod"],
    **{f"{curriculum}_{task}": [] for curriculum in ("none", "adaptive") for task in ("parity", "dms")},
}  # fmt: skip
NAMES = [*VARIANTS, *(f"{name}_{variant}" for name, variants in VARIANTS.items() for variant in variants),
         "cumulative_parity_continuous_k10"]  # fmt: skip
OURS = [name for name in NAMES if name.startswith("adaptive") or name.endswith(METHODS)]
QUICK = ("hardware.compile=false", "callbacks.progress.enabled=false")


def experiment(name, *settings):
    return configuration((f"experiment=timescales/{name}", *settings), "runs")  # each is composed once


def test_every_setting_of_the_paper_is_there():
    there = {path.stem for path in (config_directory() / "experiment" / "timescales").glob("*.yaml")}
    assert there == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_it_is_called(name):
    config, (curriculum, task, *variant) = experiment(name), name.split("_", 2)
    variant = variant[0] if variant else ""
    assert (config.task.curriculum, config.task.name, config.seeds) == (curriculum, task, 4)
    assert config.model.name == (variant if variant in GATED else "leaky")
    assert config.algo.name == (variant if variant in METHODS else "curriculum")
    assert (config.model.hidden, config.optimizer.clip) == (500, 2.0)
    text = (config_directory() / "experiment" / "timescales" / f"{name}.yaml").read_text().splitlines()[1]
    assert text.startswith(
        "# Not in the reference; our addition" if name in OURS else "# Khajehabdollahi et al. (2024)"
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_as_published_and_in_minutes(name):
    """In seconds it is run in test_configs.py."""
    for scale, sizes, periods in (("paper", (500,), (1000, 100)), ("laptop", (64,), (40, 20))):
        config = experiment(name) if scale == "paper" else experiment(name, f"+scale={scale}")
        assert config.model.hidden in sizes
        assert config.task.tasks in periods
        small = {"model": {"hidden": 3}, "seeds": 1, "hardware": {"threads": 1}}  # the size is not what is tested
        learner = prepare(OmegaConf.merge(config, small)).learner
        assert learner.population.tensors["head.bias"].shape == (1, 2 * learner.spec.heads)


def test_the_published_numbers():
    config = experiment("cumulative_parity")
    optimizer, stream, model = config.optimizer, config.task, config.model
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.05, 0.1, True)
    assert (optimizer.weight_decay, list(optimizer.lr_steps)) == (0, [])
    assert (stream.tasks, stream.batch_size, stream.updates_per_task, stream.check_batches) == (1000, 256, 600, 50)
    assert (stream.start_n, stream.init_heads, stream.add_heads, stream.threshold) == (2, 1, 1, 0.98)
    assert (stream["values"], stream.probability, stream.largest_n) == ("zero_one", "uniform", None)
    assert (model.dynamics, model.activation, model.tau, model.initial_state) == ("default", "leaky_relu", 1, 0.1)
    assert (model.trainable_tau, model.shared_tau) == (True, False)
    assert experiment("single_dms").task.probability == 0.5


def test_the_published_numbers_of_the_gated_networks():
    config = experiment("single_parity_lstm")
    optimizer, stream, model = config.optimizer, config.task, config.model
    assert (optimizer.name, optimizer.lr) == ("adam", 0.001)
    assert (stream.tasks, stream.batch_size, stream.updates_per_task, stream.check_batches) == (100, 64, 300, 50)
    assert (stream["values"], stream.probability) == ("plus_minus", 0.5)
    assert (model.layers, model.bidirectional) == (1, False)
    other = experiment("single_parity_gru")
    assert (other.task, other.optimizer) == (config.task, config.optimizer)


def test_what_the_variants_are():
    window = experiment("sliding_parity").task
    assert (window.init_heads, window.forget_heads, window.heads) == (10, 5, "auto")
    assert experiment("sliding_parity_published").task == OmegaConf.merge(window, {"heads": "position"})
    for curriculum in BOTH:
        fixed = experiment(f"{curriculum}_dms_fixed_tau").model
        assert (fixed.tau, fixed.trainable_tau, fixed.shared_tau, fixed.dynamics) == (1, False, True, "default")
        for variant, activation in zip(LEAKY, ("leaky_relu", "relu", "tanh", "sigmoid")):
            model = experiment(f"{curriculum}_parity_{variant}").model
            assert (model.dynamics, model.activation, model.trainable_tau) == ("mod", activation, True)
        timed = experiment(f"{curriculum}_parity_continuous")
        assert (timed.model.dynamics, list(timed.task.repeats)) == ("continuous", [7, 8, 9, 10])
    assert list(experiment("cumulative_parity_continuous_k10").task.repeats) == [10]


def test_the_scales():
    small = experiment("cumulative_dms", "+scale=laptop")
    assert (small.model.hidden, small.seeds, small.task.batch_size, small.task.updates_per_task) == (64, 5, 64, 200)
    window = experiment("sliding_parity_published", "+scale=laptop").task
    assert (window.init_heads, window.forget_heads, window.heads) == (4, 2, "position")
    assert list(experiment("single_parity_continuous", "+scale=laptop").task.repeats) == [7, 8, 9, 10]
    assert experiment("none_parity", "+scale=laptop").task.start_n == 10
    assert experiment("cumulative_parity", "+scale=smoke").seeds == 2


# name -> a threshold that every check passes, the largest N of each period, and the heads of it
PASSING = "task.threshold=0.001"
RUNS = {
    "cumulative_parity": ([2, 3], [1, 2], 2),
    "single_dms_mod": ([2, 3], [1, 1], 1),
    "sliding_parity": ([3, 4], [2, 2], 3),
    "sliding_parity_published": ([3, 4], [2, 2], 2),
    "cumulative_parity_lstm": ([2, 3], [1, 2], 2),
    "cumulative_parity_continuous_k10": ([2, 3], [1, 2], 2),
    "cumulative_parity_cbp": ([2, 3], [1, 2], 2),
}


@pytest.mark.parametrize("name", RUNS)
def test_it_goes_through_its_curriculum(name, tmp_path):
    highest, heads, readouts = RUNS[name]
    settings = (f"experiment=timescales/{name}", "+scale=smoke", PASSING, "task.batch_size=40", "seeds=[4]", *QUICK)
    directory = train.run(OmegaConf.merge(configuration(settings, tmp_path), {"hardware": {"threads": 1}}))
    assert directory.done
    assert [value for *_, value in rows(directory, "highest_n", 4)] == highest
    assert [value for *_, value in rows(directory, "heads", 4)] == heads
    assert [value for *_, value in rows(directory, "solved_n", 4)] == highest
    kept = sorted(directory.path.glob("networks/solved/*"))
    assert [path.name for path in kept] == [f"seed-00004-N-{n:05d}.pt" for n in (0, *highest)]
    saved = read_tensors(kept[-1], "tensors", "low", "high")
    assert (saved["low"], saved["high"]) == (highest[-1] - heads[-1] + 1, highest[-1])
    assert saved["tensors"]["head.bias"].shape == (2 * readouts,)


def test_a_time_constant_that_is_fixed_stays(tmp_path):
    settings = ("experiment=timescales/single_parity_fixed_tau", "+scale=smoke", "model.tau=3", "seeds=[4]", *QUICK)
    directory = train.run(OmegaConf.merge(configuration(settings, tmp_path), {"hardware": {"threads": 1}}))
    (kept,) = directory.path.glob("networks/solved/*")
    config = experiment("single_parity_fixed_tau", "+scale=smoke", "model.tau=3", "seeds=[4]", *QUICK)
    learner = prepare(config).learner
    assert read_tensors(kept, "tensors")["tensors"]["tau"] == torch.tensor([3.0])
    assert "tau" not in learner.population.params


SWEEPS = {  # sweep of conf/sweep/timescales -> the experiment that it goes with, the key, the values
    "curricula": (None, "task.curriculum", ["cumulative", "sliding", "single", "adaptive"]),
    "tasks": (None, "task.name", ["parity", "parity", "dms", "dms"]),
    "fixed_tau": ("single_dms_fixed_tau", "model.tau", [1, 2, 3, 4, 5]),
    "sizes": ("cumulative_parity", "model.hidden", [*range(1, 11), 50, 100, 200, 300, 400, 500]),
    "activations": (None, "model.activation", ["leaky_relu", "relu", "tanh", "sigmoid"] * 2),
    "recurrent": (None, "model.name", ["leaky", "lstm", "gru"] * 2),
    "continuous": (None, "task.repeats", [[7, 8, 9, 10], [7, 8, 9, 10], [10]]),
    "methods": (None, "algo.name", ["curriculum", "l2", "shrink_and_perturb", "cbp"] * 2),
    "fresh_single": ("none_parity", "task.start_n", [2, 3, 4, 5, 6, 7, 8]),
    "fresh_cumulative": ("none_dms", "task.init_heads", [1, 2, 3, 4, 5, 6, 7]),
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_a_sweep_goes_through(sweep):
    name, key, values = SWEEPS[sweep]
    chosen = [f"experiment=timescales/{name}"] if name else []
    lines = jobs(parse(expanded([*chosen, f"+sweep=timescales/{sweep}"])))
    assert len(lines) == len(values)
    ends = [0, -1] if name else range(len(lines))  # composing takes its time
    configs = [composed(lines[i]) for i in ends]
    assert [OmegaConf.select(config, key) for config in configs] == [values[i] for i in ends]


def test_fresh_networks_have_one_n_or_all_of_them():
    """What a network came to by a curriculum, a fresh one begins with."""
    for sweep, expected in (("fresh_single", (8, 8)), ("fresh_cumulative", (2, 8))):
        last = jobs(parse(expanded(["experiment=timescales/none_parity", f"+sweep=timescales/{sweep}"])))[-1]
        (level,) = prepare(composed([*last, "model.hidden=3", "seeds=1", "hardware.threads=1"])).stream.levels
        assert (level["low"], level["high"]) == expected


def test_every_sweep_is_tested_and_says_what_it_is():
    there = [name for name in options_of("sweep") if name.startswith("timescales/")]
    assert set(there) == {f"timescales/{sweep}" for sweep in SWEEPS}
    for name in there:
        assert (config_directory() / "sweep" / f"{name}.yaml").read_text().startswith("# ")


BAD = {  # arguments -> what the line must say
    "experiment=timescales/cumulative_parity task.start_n=1": ["task.start_n=1", "at least 2"],
    "experiment=timescales/sliding_parity task.forget_heads=11": ["task.forget_heads=11", "init_heads=10"],
    "experiment=timescales/single_dms task.threshold=1.5": ["task.threshold=1.5", "in (0, 1]"],
    "experiment=timescales/single_dms task.threshold=0": ["task.threshold=0", "in (0, 1]"],
    "task=parity model=leaky task.curriculum=cumulativ": ["task.curriculum=cumulativ", "did you mean 'cumulative'?"],
    "task=parity model=leaky task.heads=by_m": ["task.heads=by_m", "did you mean 'by_n'?"],
    "task=parity model=leaky task.repeats=[7,0]": ["task.repeats=[7, 0]", "at least 1"],
    "task=parity model=leaky model.tau=0.5": ["model.tau=0.5", "[1, inf)"],
    "task=dms model=leaky model.dynamics=modd": ["model.dynamics=modd", "did you mean 'mod'?"],
    "task=dms model=leaky optimizer.clip=0": ["optimizer.clip=0"],
    "task=parity model=mlp": ["model: this network reads no sequences that end", "model=leaky"],
    "experiment=timescales/cumulative_parit": ["did you mean 'timescales/cumulative_parity'?"],
    "-m +sweep=timescales/size": ["did you mean 'timescales/sizes'?"],
}


@pytest.mark.parametrize("arguments", BAD)
def test_one_line_says_what_is_wrong(lop, tmp_path, arguments):
    code, out, errors = lop(*arguments.split(), "seeds=1", *QUICK)
    assert (code, out, errors.count("\n")) == (2, "", 1), errors
    assert all(words in errors for words in BAD[arguments]), errors
    assert not list(tmp_path.iterdir())
