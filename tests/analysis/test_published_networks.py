import json
from pathlib import Path

import pytest
import torch
from memory_networks import step_by_step
from torch import nn

from lop_lightning.analysis.timescales.published import (
    load_published,
    published_files,
    published_name,
    published_solved,
)
from lop_lightning.analysis.timescales.streaming import streaming_accuracy
from lop_lightning.errors import LopError
from lop_lightning.networks.leaky import LeakyNetwork

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "timescales_networks.json").read_text())
SMALL, INIT = GOLDEN["small"], GOLDEN["init_seed0_500"]


class Layout(nn.Module):
    """Modules in the published files' order and under their names; drawn in that order too."""

    def __init__(self, n=500, heads=100):
        super().__init__()
        inward, recurrent = nn.Linear(1, n), nn.Linear(n, n)
        self.parameterlist = nn.ParameterList([nn.Parameter(1 + torch.rand(n))])
        self.modulelist = nn.ModuleList([inward, recurrent, *(nn.Linear(n, 2) for _ in range(heads))])


def small_state():
    heads = zip(SMALL["W_heads[k][class][n]"], SMALL["b_heads"])
    state = {
        "parameterlist.0": SMALL["taus_raw"],
        "modulelist.0.weight": SMALL["W_in"],
        "modulelist.0.bias": SMALL["b_in"],
        "modulelist.1.weight": SMALL["W_hh (given with non-zero diagonal; model zeroes the diagonal first)"],
        "modulelist.1.bias": SMALL["b_hh"],
    }
    for k, (weight, bias) in enumerate(heads, 2):
        state |= {f"modulelist.{k}.weight": weight, f"modulelist.{k}.bias": bias}
    return {name: torch.tensor(values) for name, values in state.items()}


def saved(path, state, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state}, path, **options)
    return path


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("default_leakyrelu", {}),
        ("mod_leakyrelu", {"dynamics": "mod"}),
        ("mod_tanh", {"dynamics": "mod", "activation": "tanh"}),
        ("mod_sigmoid", {"dynamics": "mod", "activation": "sigmoid"}),
        ("continuous_k1", {"dynamics": "continuous"}),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_golden_numbers_through_a_file(tmp_path, case, settings, zipped):
    path = saved(tmp_path / "rnn_N2_N4", small_state(), _use_new_zipfile_serialization=zipped)
    network = load_published(path, **settings)
    assert not network.training
    x = torch.tensor(SMALL["sequence_batch_first"]).float()[..., None]
    if case.startswith("continuous"):
        x = torch.cat([x, torch.ones_like(x)], -1)
    expected = SMALL[case]
    with torch.no_grad():
        states = network.states(x, torch.tensor(SMALL["h0[batch][n]"]))
        logits = network.head(states[:, -1]).unflatten(1, (3, 2)).transpose(0, 1)
    torch.testing.assert_close(states[:, 0], torch.tensor(expected["hidden_t1"]), atol=2e-6, rtol=2e-5)
    torch.testing.assert_close(states[:, -1], torch.tensor(expected["hidden_last"]), atol=2e-6, rtol=2e-5)
    named = torch.tensor(expected["logits_last[head][batch][class]"])
    torch.testing.assert_close(logits, named, atol=4e-6, rtol=2e-5)


def test_the_published_beginning_and_ours_are_the_same(tmp_path):
    torch.manual_seed(0)
    layout = Layout()
    before = torch.random.get_rng_state()
    network = load_published(saved(tmp_path / "rnn_init", layout.state_dict()))
    assert torch.equal(before, torch.random.get_rng_state())
    assert network.tau[:5].tolist() == pytest.approx(INIT["taus_first5"])
    assert network.tau.mean().item() == pytest.approx(INIT["taus_mean"])
    assert network.inward.weight[:5, 0].tolist() == pytest.approx(INIT["w_in_first5"], abs=1e-7)
    assert network.recurrent.weight[0, :5].tolist() == pytest.approx(
        INIT["w_hh_row0_first5_before_diag_zero"], abs=1e-7
    )
    assert network.head.weight[0, :3].tolist() == pytest.approx(INIT["fc0_row0_first3"], abs=1e-7)
    assert network.head.bias[-2:].tolist() == pytest.approx(INIT["fc99_bias"], abs=1e-7)
    torch.manual_seed(0)
    ours = LeakyNetwork((9, 1), 200, ragged=True, heads=100)
    parameters = dict(network.named_parameters())
    assert all(torch.equal(p, parameters[name]) for name, p in ours.named_parameters())
    assert sum(p.numel() for p in parameters.values()) == INIT["n_params"]


FOLDERS = {
    "cumulative_parity_network_1": ("cumulative", "parity", 1, "default", "leaky_relu", ()),
    "single_dms_network_12": ("single", "dms", 12, "default", "leaky_relu", ()),
    "single_nocurr_parity_T_3_network_2": ("single_nocurr", "parity", 2, "default", "leaky_relu", ()),
    "sliding_10_5_parity_network_3": ("sliding_10_5", "parity", 3, "default", "leaky_relu", ()),
    "cumulative_parity_mod_leakyrelu_network_4": ("cumulative", "parity", 4, "mod", "leaky_relu", ()),
    "cumulative_parity_size_64_mod_tanh_network_4": ("cumulative", "parity", 4, "mod", "tanh", ()),
    "single_parity_duplicates[7, 8, 9, 10]_mod_leakyrelu_network_99":
        ("single", "parity", 99, "continuous", "leaky_relu", (7, 8, 9, 10)),
}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_a_folder_says(tmp_path, folder):
    name = published_name(tmp_path / folder / "rnn_N2_N12")
    said = name.curriculum, name.question, name.number, name.dynamics, name.activation, name.repeats
    assert said == FOLDERS[folder]
    assert (name.low, name.high) == (2, 12)
    assert published_name(tmp_path / folder / "rnn_init").high == 0


@pytest.mark.parametrize(
    ("folder", "file", "low", "n", "head"),
    [
        ("cumulative_parity_network_1", "rnn_N2_N4", 2, 4, 2),
        ("single_parity_network_1", "rnn_N7_N7", 7, 7, 0),
        ("sliding_3_1_parity_network_1", "rnn_N5_N7", 5, 7, 2),
        ("cumulative_parity_network_1", "rnn_init", 0, 3, 1),
    ],
)
def test_which_readout_answers(tmp_path, folder, file, low, n, head):
    solved = published_solved(saved(tmp_path / folder / file, small_state()))
    assert (solved.low, solved.heads, solved.seed) == (low, "position", 1)
    assert solved.head_of(n) == head
    # Read out by that readout and no other: its bias decides
    state = small_state()
    state[f"modulelist.{2 + head}.bias"] = torch.tensor([-100.0, 100.0])
    always = published_solved(saved(tmp_path / "x" / folder / file, state))
    share = streaming_accuracy(always, n, repeats=40).mean()
    assert 0.45 < share < 0.55
    state[f"modulelist.{2 + head}.bias"] = torch.tensor([100.0, -100.0])
    never = published_solved(saved(tmp_path / "y" / folder / file, state))
    assert streaming_accuracy(never, n, repeats=40).mean() == pytest.approx(1 - share)


def test_a_whole_folder(tmp_path):
    for number in (2, 1):
        for file in ("rnn_init", "rnn_N10_N10", "rnn_N2_N2", "stats.npy"):
            saved(tmp_path / f"single_parity_network_{number}" / file, small_state())
    saved(tmp_path / "lstm_single_network_51" / "rnn_N2_N2", small_state())
    found = [(one.number, one.high) for one in published_files(tmp_path)]
    assert found == [(1, 0), (1, 2), (1, 10), (2, 0), (2, 2), (2, 10)]
    one = published_solved(next(published_files(tmp_path)).path).network
    x = torch.ones(1, 4)
    expected = step_by_step(one, x, torch.zeros(1, 8))
    torch.testing.assert_close(one.states(x[..., None], torch.zeros(1, 8)), expected, atol=1e-6, rtol=1e-5)


def without(key):
    return {name: t for name, t in small_state().items() if name != key}


def changed(**tensors):
    return {**small_state(), **{name.replace("_", "."): t for name, t in tensors.items()}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": without("parameterlist.0")}, r"another layout than .*: parameterlist.0$"),
        ({"state_dict": without("modulelist.3.weight")}, r"another layout than .*: modulelist.3.weight$"),
        ({"state_dict": without("modulelist.3.bias") | {}}, r"another layout than .*: modulelist.3.bias$"),
        ({"state_dict": {k: v for k, v in small_state().items() if k < "modulelist.2"}}, "another layout"),
        ({"state_dict": nn.LSTM(1, 4).state_dict()}, r"another layout .*: bias_hh_l0, bias_ih_l0, modulelist.0.bias$"),
        (
            {"state_dict": changed(parameterlist_0=torch.ones(1))},
            r"parameterlist.0 is \[1\], expected \[8\] with 8 units",
        ),
        ({"state_dict": changed(modulelist_3_weight=torch.ones(3, 8))}, r"is \[3, 8\], expected \[2, 8\]"),
        ({"epoch": 3}, "it has no state_dict of tensors"),
        ([1, 2], "it has no state_dict of tensors"),
    ],
)
def test_other_files_are_one_clear_line(tmp_path, content, message):
    torch.save(content, tmp_path / "rnn_init")
    with pytest.raises(LopError, match=message) as caught:
        load_published(tmp_path / "rnn_init")
    assert "\n" not in str(caught.value)


def test_files_that_would_run_something(tmp_path):
    torch.save({"state_dict": {"a": Path("/")}}, tmp_path / "rnn_init")
    with pytest.raises(LopError, match="cannot be read as a published network") as caught:
        load_published(tmp_path / "rnn_init")
    assert "\n" not in str(caught.value)
    (tmp_path / "text").write_text("no checkpoint")
    for path in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(LopError, match="cannot be read"):
            load_published(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("multi_parity_network_1/rnn_init", "does not lie in a folder"),
        ("single_parity_network_1/lstm_init", "is not called rnn_init"),
        ("single_parity_mod_softplus_network_1/rnn_init", "no such nonlinearity"),
    ],
)
def test_other_names(tmp_path, path, message):
    with pytest.raises(LopError, match=message):
        published_solved(tmp_path / path)
