"""The experiments, sweeps and the preset of plastic Hebbian networks: what each is, and that it works."""

import shlex

import pytest
from lab import configuration, rows
from omegaconf import OmegaConf

from lop_lightning import train
from lop_lightning.config import composed, config_directory, expanded, jobs, parse
from lop_lightning.config.overrides import options_of, table_of
from lop_lightning.errors import LopError
from lop_lightning.experiment import prepare
from lop_lightning.records.run_directory import identity

BATCH = {  # network of the seed's batch script -> its class there, rules, and how many numbers are trained
    "nonl_ro_m": ("nonl_ro", "M", {100: 15302, 50: 5152}),
    "nonl_ro_a": ("nonl_ro", "A", {100: 15302, 50: 5152}),
    "memo_m": ("memo", "M", {100: 5202, 50: 2602}),
    "memo_a": ("memo", "A", {100: 5202, 50: 2602}),
    "memo_ma": ("memo", "MA", {100: 25303, 50: 7653}),
    "memo_mm": ("memo", "MM", {100: 25303, 50: 7653}),
    "dyn_ro_ma": ("dyn_ro", "MA", {100: 25302, 50: 7652}),  # there one more: a decay that nothing reads
    "dyn_ro_mm": ("dyn_ro", "MM", {100: 25302, 50: 7652}),
    "stack_ma": ("stack", "MA", {100: 10403, 50: 5203}),
}
BATCH_NAMES = [f"{name}_{width}" for width in (100, 50) for name in BATCH]
FAMILIARITY = {  # experiment -> network, units
    **{f"familiarity_{rule}_{width}": ("memo", width) for rule in "am" for width in (50, 100)},
    "hebbff_25": ("hebbff", 25), "hebbff_100": ("hebbff", 100), "familiarity_lstm_100": ("lstm", 100),
}  # fmt: skip
BASELINES = {"lstm_100": "lstm", "gru_100": "gru", "rnn_100": "rnn", "frozen_100": "memo"}
NAMES = [*BATCH_NAMES, *FAMILIARITY, *BASELINES]
QUICK = ("hardware.compile=false", "callbacks.progress.enabled=false")


def experiment(name, *settings):
    return configuration((f"experiment=hebbian/{name}", *settings), "runs")  # each is composed once


def in_small(config):
    return OmegaConf.merge(config, {"seeds": 1, "hardware": {"threads": 1}})


def differences(one, other, prefix=""):
    """Full name -> value of the other, where two configurations differ."""
    found = {}
    for key in {*one, *other}:
        if OmegaConf.is_dict(one.get(key)) and OmegaConf.is_dict(other.get(key)):
            found |= differences(one[key], other[key], f"{prefix}{key}.")
        elif one.get(key) != other.get(key):
            found[f"{prefix}{key}"] = other.get(key)
    return found


def test_every_one_is_tested_and_says_what_it_is():
    folder = config_directory() / "experiment" / "hebbian"
    assert {path.stem for path in folder.glob("*.yaml")} == set(NAMES)
    heads = ("# Repository HybridMemoyPlasticity", "# Not in the repository", "# HebbFF, Tyulmankov", "# A baseline of")
    for name in NAMES:
        line = (folder / f"{name}.yaml").read_text().splitlines()[1]
        assert line.startswith(heads[:1] if name in BATCH_NAMES else heads[1:])


@pytest.mark.parametrize("name", NAMES)
def test_what_all_have_in_common(name):
    config, task = experiment(name), "familiarity" if name in FAMILIARITY else "scenes"
    assert (config.task.name, config.algo.name, config.seeds) == (task, "hebbian", 5)
    assert (config.optimizer.name, config.optimizer.clip) == ("adam", 1.0)
    assert config.optimizer.lr == (0.01 if name.startswith("hebbff") else 0.005)
    stream = config.task
    assert (stream.batch_size, stream.acc_num, stream.acc_threshold, stream.vec_len, stream.out_dim) == (
        4, 10, 0.99, 25, 1
    )  # fmt: skip
    assert (stream.streak_unit, stream.on_cap, stream.max_updates_per_r) == ("movie", "stop", 1_000_000)


@pytest.mark.parametrize("name", BATCH_NAMES)
def test_a_network_of_the_batch(name):
    short, _, width = name.rpartition("_")
    network, rules, trained = BATCH[short]
    config = experiment(name)
    layers = 2 if network == "nonl_ro" else len(rules)
    assert (config.model.name, list(config.model.plastic_types)) == (network, list(rules))
    assert list(config.model.hidden_dims) == [int(width)] * layers
    assert list(config.model.hetero_rates) == [1] * len(rules)
    assert (config.task.scene_time, config.task.VAR) == (4, 0.1)
    params = prepare(in_small(config)).learner.population.params
    assert sum(tensor.numel() for tensor in params.values()) == trained[int(width)]


@pytest.mark.parametrize("name", [*FAMILIARITY, *BASELINES])
def test_the_others(name):
    config = experiment(name)
    network, units = FAMILIARITY.get(name) or (BASELINES[name], 100)
    assert config.model.name == network
    if network == "memo":
        rule = "A" if "_a_" in name else "M"
        assert (list(config.model.hidden_dims), list(config.model.plastic_types)) == ([units], [rule])
        assert config.model.plastic is (name != "frozen_100")
    else:
        assert config.model.hidden == units
    if network in ("lstm", "gru", "rnn"):
        assert (config.model.layers, config.model.bidirectional) == (1, False)
    learner = prepare(in_small(config)).learner
    assert sum(layer.width for layer in learner.layers) == units
    assert learner.spec.read_every == (1 if name in FAMILIARITY else 4)


# ---- how long


def test_what_the_scales_leave_alone():
    """In seconds each of them is run in test_configs.py."""
    full = experiment("memo_ma_100")
    assert differences(full, experiment("memo_ma_100", "+scale=laptop")) == {"task.tasks": 60}
    small = differences(full, experiment("memo_ma_100", "+scale=smoke"))
    assert small["seeds"] == 2
    assert all(key == "seeds" or key.startswith("task.") for key in small)
    assert experiment("familiarity_m_50", "+scale=laptop").task.tasks == 60


@pytest.mark.parametrize("name", ["memo_ma_50", "lstm_100"])
def test_it_goes_through_its_curriculum(name, tmp_path):
    settings = ("+scale=smoke", "task.acc_threshold=0.1", "task.acc_num=2", "seeds=[4]", *QUICK)
    config = configuration((f"experiment=hebbian/{name}", *settings), tmp_path)
    directory = train.run(OmegaConf.merge(config, {"hardware": {"threads": 1}}))
    assert directory.done
    assert [value for *_, value in rows(directory, "trained_r", 4)] == [1, 2]
    assert [value for *_, value in rows(directory, "solved_r", 4)] == [1, 2]


def test_a_run_of_the_preset_in_small(tmp_path):
    """Its R is left where it was not solved in time."""
    settings = (
        "preset=original", "+scale=smoke", "task.acc_threshold=1", "task.acc_num=1000", "task.max_updates_per_r=3"
    )  # fmt: skip
    config = configuration(("experiment=hebbian/memo_m_50", *settings, "seeds=[4]", *QUICK), tmp_path)
    directory = train.run(OmegaConf.merge(config, {"hardware": {"threads": 1}}))
    assert [value for *_, value in rows(directory, "trained_r", 4)] == [1, 2]
    assert [value for *_, value in rows(directory, "solved_r", 4)] == [0, 0]
    assert next(value for *_, value in rows(directory, "capped", 4)) == 1


# ---- as the seed has it

ORIGINAL = {  # what the preset changes in experiment=hebbian/memo_ma_100
    "optimizer.lr": 1e-3, "optimizer.clip": None, "task.batch_size": 1, "task.acc_num": 5, "task.on_cap": "advance",
    "task.updates_per_task": 10, "task.tasks": 400_000,
}  # fmt: skip


def test_what_the_preset_sets_and_nothing_else():
    ours, theirs = experiment("memo_ma_100"), experiment("memo_ma_100", "preset=original")
    assert differences(ours, theirs) == ORIGINAL
    assert (theirs.task.streak_unit, theirs.task.max_updates_per_r) == ("movie", 1_000_000)
    assert "preset" not in theirs
    written = experiment("memo_ma_100", *(f"{k}={'null' if v is None else v}" for k, v in ORIGINAL.items()))
    assert identity(OmegaConf.to_container(written)) == identity(OmegaConf.to_container(theirs))
    assert identity(OmegaConf.to_container(ours)) != identity(OmegaConf.to_container(theirs))


def test_a_preset_with_other_words():
    """It is above an experiment, below a scale and what is said beside it."""
    both = experiment("memo_ma_100", "preset=original", "+scale=laptop", "task.acc_num=7")
    assert (both.task.tasks, both.task.batch_size, both.task.acc_num) == (60, 1, 7)
    alone = composed(["task=familiarity", "model=memo", "+preset=original"])
    assert (alone.optimizer.name, alone.optimizer.lr, alone.task.batch_size) == ("adam", 1e-3, 1)


KEYS = {  # parameter of the seed's README -> its key and default there
    "network": ("model.name", None),
    "hidden_dims": ("model.hidden_dims", None),
    "plastic_types": ("model.plastic_types", None),
    "hetero_rates": ("model.hetero_rates", None),
    "scene_time": ("task.scene_time", 4),
    "vec_len": ("task.vec_len", 25),
    "lr_rate": ("optimizer.lr", 1e-3),
    "VAR": ("task.VAR", 0.1),
    "out_dim": ("task.out_dim", 1),
    "acc_threshold": ("task.acc_threshold", 0.99),
    "acc_num": ("task.acc_num", 10),
}


@pytest.mark.parametrize("parameter", KEYS)
def test_every_parameter_of_the_seed_is_a_key_with_its_meaning_beside_it(parameter):
    key, default = KEYS[parameter]
    group, _, name = key.partition(".")
    chosen = {"model": ["memo", "nonl_ro", "dyn_ro", "stack"], "task": ["scenes"], "optimizer": ["adam"]}[group]
    for option in chosen if name != "name" else ():
        lines = (config_directory() / group / f"{option}.yaml").read_text().splitlines()
        assert any(line.startswith(f"{name}: ") and " # " in line for line in lines)
    preset = () if parameter == "acc_num" else ("preset=original",)  # the README says 10, the script 5
    assert default in (None, OmegaConf.select(experiment("memo_ma_100", *preset), key))


# ---- sweeps

SWEEPS = {  # sweep of conf/sweep/hebbian -> a key that it goes through, and its value in each run
    "batch": ("model.plastic_types", [list(BATCH[name.rpartition("_")[0]][1]) for name in BATCH_NAMES]),
    "rates": ("model.hetero_rates", [[1], [0], [0.5]] * 2),
    "rates_two_layers": ("model.hetero_rates", [[1, 1], [1, 0], [1, 0.5], [0.5, 0.5], [0.5, 0]] * 4),
    "methods": ("algo.name", ["hebbian", "l2", "shrink_and_perturb", "cbp"]),
    "report": ("model.hidden_dims", [[25, 25], [50, 50]] * 5),
    "report_additive": ("model.plastic_types", [*[["A", "M"]] * 2, *[["A", "A"]] * 2] * 2),
}  # fmt: skip


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_a_sweep_goes_through(sweep):
    key, values = SWEEPS[sweep]
    lines = jobs(parse(expanded([f"+sweep=hebbian/{sweep}"])))
    assert len(lines) == len(values)
    ends = sorted({0, 1, len(lines) - 1})  # composing takes its time
    for place in ends:
        config = composed(lines[place])
        assert OmegaConf.select(config, key) == values[place]
        prepare(in_small(config))


def test_every_sweep_is_tested_and_says_what_it_is():
    there = [name for name in options_of("sweep") if name.startswith("hebbian/")]
    assert set(there) == {f"hebbian/{sweep}" for sweep in SWEEPS}
    for name in there:
        assert (config_directory() / "sweep" / f"{name}.yaml").read_text().startswith("# ")


def test_the_batch_by_its_name():
    """``lop -m experiment=hebbian/batch`` is its 18 runs; other settings go to each."""
    lines = jobs(parse(expanded(["experiment=hebbian/batch", "preset=original", "seeds=3"])))
    assert lines == [[f"experiment=hebbian/{name}", "preset=original", "seeds=3"] for name in BATCH_NAMES]
    assert expanded(["experiment=hebbian/batch"]) == expanded(["+sweep=hebbian/batch"])
    assert "experiment" in table_of("sweep", "hebbian/batch")


def test_only_a_sweep_of_experiments_goes_by_its_name():
    assert expanded(["experiment=timescales/sizes"]) == ["experiment=timescales/sizes"]  # its lists are of model.hidden
    with pytest.raises(LopError, match="experiment=timescales/sizes is not legal"):
        composed(["experiment=timescales/sizes"])
    name = "experiment=dohare2024/continual_imagenet/bp"
    assert expanded([name]) == [name]


BAD = {  # arguments -> what the line must say
    "preset=original": ["preset=original is not legal with task=permuted_images", "no key", "familiarity or scenes"],
    "task=parity model=leaky preset=original": ["preset=original", "task=parity", "familiarity or scenes"],
    "task=gmm +preset=original": ["preset=original is not legal with task=gmm", "acc_num"],
    "experiment=hebbian/memo_ma_100 preset=orignal": ["preset=orignal", "did you mean 'original'?"],
    "experiment=hebbian/batch": [
        "'experiment=hebbian/batch' stands for several runs: write lop -m experiment=hebbian/batch ..."
    ],
    "-m experiment=hebbian/batch experiment=demo/bp": ["experiment=demo/bp", "sweep=hebbian/batch gives experiment"],
    "-m experiment=hebbian/batch preset=original task=gmm": ["preset=original is not legal with task=gmm"],
    "experiment=hebbian/memo_ma_10": ["did you mean 'hebbian/memo_ma_100'?"],
    "experiment=hebbian/memo_ma_50 model.hetero_rates=[1]": ["model.hetero_rates"],
    "experiment=hebbian/memo_ma_50 task.on_cap=go": ["task.on_cap=go", "stop, advance"],
}


@pytest.mark.parametrize("arguments", BAD)
def test_one_line_says_what_is_wrong(lop, tmp_path, arguments):
    code, out, errors = lop(*shlex.split(arguments), *QUICK)
    assert (code, out, errors.count("\n")) == (2, "", 1), errors
    assert all(words in errors for words in BAD[arguments]), errors
    assert not list(tmp_path.iterdir())
