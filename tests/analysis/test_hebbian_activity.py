"""Networks that watch a movie: what they say and do, and what their plastic matrices are, against the formulas."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hebbian_networks import (
    EXACT,
    LSTM,
    MEMO,
    D,
    answers_of_last,
    hebbian_run,
    knows_the_last,
    memo,
    step_by_step,
)

from lop_lightning.analysis.hebbian.activity import at_every_frame, movie, watch
from lop_lightning.analysis.hebbian.answers import Rates, called_familiar, logits_of, rates
from lop_lightning.analysis.hebbian.metadata import metadata
from lop_lightning.analysis.hebbian.plastic_states import norms, plastic_layers, states
from lop_lightning.analysis.hebbian.snapshots import load_snapshot
from lop_lightning.analysis.hebbian.spectra import rates as rates_of
from lop_lightning.analysis.hebbian.spectra import readout, singular_values, weights
from lop_lightning.analysis.runs import read_run
from lop_lightning.config import build
from lop_lightning.errors import LopError
from lop_lightning.networks.hebbff import HebbFF
from lop_lightning.networks.hebbian import DynamicReadout, Stack
from lop_lightning.networks.mpn import MPN

SCENES = MEMO | {"hidden_dims": [4, 3]}


@pytest.fixture
def kept(tmp_path):
    """``kept(network, **settings)`` -> its snapshot, of the run of that network alone."""

    def make(network, r=1, **settings):
        return load_snapshot(read_run(hebbian_run(tmp_path / "run", {(3, r): network}, seeds=(3,), **settings)))

    return make


# ---- answers


def test_rates_count_scenes_but_for_padding():
    labels = torch.tensor([[1, 0, 0, 1], [1, 0, -1, -1]])
    called = torch.tensor([[True, True, False, False], [True, False, True, True]])
    assert rates(called, labels) == Rates(4 / 6, 2 / 3, 1 / 3)
    nothing = rates(called[:, :1], labels[:, :1] * 0)
    assert (nothing.accuracy, nothing.false_positive_rate) == (0, 1)
    assert np.isnan(nothing.true_positive_rate)


def test_logits_of_one_and_of_two_outputs():
    one = torch.tensor([[-1.0, 0.0, 2.0, float("nan")]])
    assert logits_of(one, 1) is one
    assert called_familiar(one, 1).tolist() == [[False, True, True, False]]
    two = logits_of(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), 2)
    assert two.tolist() == [[2, 0]]
    assert called_familiar(two, 2).tolist() == [[True, False]]  # as the larger of two outputs, the first in a tie


# ---- a movie


def test_a_network_says_at_every_frame_what_its_formulas_say(kept):
    snapshot = kept(knows_the_last())
    watched = watch(snapshot)
    x = watched.inputs[0].double().numpy()
    h, logits = answers_of_last(x)
    assert watched.labels.sum() > 20
    np.testing.assert_allclose(watched.activations["layers.0"], np.stack([h, 0 * h], 1), atol=1e-6)
    np.testing.assert_allclose(watched.logits, logits, atol=1e-4)
    np.testing.assert_array_equal(watched.called, watched.labels == 1)
    assert watched.rates == Rates(1, 1, 0)


def test_two_outputs_are_one_logit(kept):
    watched = watch(kept(knows_the_last(out_dim=2), out_dim=2))
    _, logits = answers_of_last(watched.inputs[0].double().numpy())
    np.testing.assert_allclose(watched.logits, logits, atol=1e-4)
    assert watched.rates == Rates(1, 1, 0)


def test_the_movie_is_the_same_every_time_and_as_long_as_r_wants(kept):
    snapshot = kept(knows_the_last())
    stream = snapshot.stream
    frames, labels = movie(stream, 3, 2)
    assert frames.shape == (1, 100, D)  # one frame a scene
    torch.testing.assert_close(movie(stream, 3, 2)[0], frames, rtol=0, atol=0)
    assert not torch.equal(movie(stream, 4, 2)[0], frames)
    assert movie(stream, 3, 7)[1].shape == (140,)
    repeated = (frames[0, 2:] == frames[0, :-2]).all(1)
    assert repeated.tolist() == (labels[2:] == 1).tolist()
    assert set(labels[:2].tolist()) == {0}


def test_the_window_begins_where_scenes_can_be_familiar(kept):
    network = memo()
    snapshot = kept(network, 3, task="scenes", model=SCENES)
    watched = watch(snapshot)
    assert watched.inputs.shape == (1, 400, D)
    assert (watched.window, watched.scenes, watched.asked) == (range(12, 108), range(3, 27), range(3, 27))
    short = watch(snapshot, 10)
    assert (short.window, short.scenes, short.asked) == (range(12, 22), range(3, 6), range(3, 5))
    assert watch(snapshot, 1000).window == range(12, 400)
    with torch.no_grad():  # at the last frames the readout says what the network says that is asked there
        np.testing.assert_allclose(watched.logits[3::4], network(watched.inputs)[0][0].numpy(), atol=1e-6)
    assert network.read_every == 4
    assert watched.called.tolist() == (watched.logits[3::4] >= 0).tolist()


def test_networks_with_gates_are_watched_too(kept, tmp_path):
    run = hebbian_run(tmp_path / "gates", task="scenes", model=LSTM, seeds=(3,))
    config = read_run(run).config
    torch.manual_seed(0)
    make = build("model", config["model"], partial=True)
    network = make(**build("task", config["task"], seeds=[3]).spec.shapes)
    watched = watch(kept(network, task="scenes", model=LSTM))
    (h,) = watched.activations.values()
    w, b = network.head.weight.detach().numpy(), network.head.bias.detach().numpy()
    np.testing.assert_allclose(watched.logits, (h @ w.T + b)[:, 0], atol=1e-5)
    assert plastic_layers(network) == {}
    assert states(network, watched.inputs, watched.window) == {}
    assert norms(network, watched.inputs).empty
    assert {m.shape for m in weights(network).values()} == {(12, D), (12, 3)}
    assert rates_of(network) == {}


def test_outputs_that_are_not_finite_are_said(kept):
    network = knows_the_last()
    with torch.no_grad():
        network.layers[0].eta.fill_(float("nan"))
    with pytest.raises(LopError, match="seed-00003-R-00001 of abc gives no finite output from frame 1 on"):
        watch(kept(network))


# ---- plastic matrices


def test_plastic_matrices_are_those_of_the_recurrence():
    network, x = memo(seed=4), torch.randn(1, 9, D)
    first, second = step_by_step(network, x[0].double().numpy())
    found = states(network, x, range(2, 7))
    assert list(found) == ["layers.0", "layers.1"]
    np.testing.assert_allclose(found["layers.0"].plastic, first[2:7], atol=1e-5)
    np.testing.assert_allclose(found["layers.1"].plastic, second[2:7], atol=1e-5)
    w = [layer.weight.detach().numpy() for layer in network.layers]
    np.testing.assert_allclose(found["layers.0"].effective, w[0] * (1 + first[2:7]), atol=1e-5)  # multiplicative
    np.testing.assert_allclose(found["layers.1"].effective, w[1] + second[2:7], atol=1e-5)  # additive


@pytest.mark.parametrize("block", [4, 100])
def test_norms_of_plastic_matrices(block):
    network, x = memo(seed=4), torch.randn(1, 9, D)
    table = norms(network, x, block)
    p = dict(zip(("layers.0", "layers.1"), step_by_step(network, x[0].double().numpy())))
    w = {name: layer.weight.detach().double().numpy() for name, layer in plastic_layers(network).items()}
    assert len(table) == 18
    for name, own in table.groupby("layer"):
        assert own["frame"].tolist() == list(range(9))
        np.testing.assert_allclose(own["norm"], np.sqrt((p[name] ** 2).sum((1, 2))), atol=1e-5)
        added = p[name] * w[name] if name == "layers.0" else p[name]
        share = np.sqrt((added**2).sum((1, 2))) / np.sqrt((w[name] ** 2).sum())
        np.testing.assert_allclose(own["share"], share, atol=1e-5)


def test_p_remembers_one_item_where_decay_is_almost_zero():
    x = torch.tensor(np.sign(np.random.default_rng(0).normal(size=(1, 5, D))), dtype=torch.float32)
    found = states(knows_the_last(), x, range(5))["layers.0"].plastic
    np.testing.assert_allclose(found[0], 0)
    np.testing.assert_allclose(found[1:, 0], -x[0, :-1], atol=1e-3)


def test_matrices_that_are_not_finite_are_said():
    network, x = memo(), torch.randn(1, 9, D)
    with torch.no_grad():
        network.layers[0].eta.fill_(float("inf"))
    with pytest.raises(LopError, match=r"P of layers\.0 is not finite by frame 5"):
        states(network, x, range(5))


def test_frozen_networks_have_weights_and_nothing_plastic():
    network = memo(plastic=False)
    assert plastic_layers(network) == {}
    assert list(weights(network)) == ["layers.0", "layers.1"]
    assert rates_of(network) == {}
    assert set(singular_values(network)["matrix"]) == {"W"}


# ---- matrices


def test_learning_rates_that_are_more_than_one_number():
    def shapes(network):
        return {name: eta.shape for name, eta in rates_of(network).items()}

    shape = (20, D)
    assert shapes(Stack(shape, 1, [4, 3], ["M", "A"], [1, 0.5])) == {"layers.0": (4, D), "layers.1": (3, 1)}
    assert shapes(DynamicReadout(shape, 1, [4, 3], ["M", "A"], ["pre", 0])) == {"layers.0": (1, D)}
    assert shapes(HebbFF(shape, 1, 6)) == {}


def test_singular_values_are_those_of_weights_and_rates():
    network = Stack((20, 4), 1, [3, 2], ["M", "A"], [1, 0.5])
    with torch.no_grad():
        network.layers[0].weight.copy_(torch.tensor([[0.0, 3, 0, 0], [-5, 0, 0, 0], [0, 0, 0, 2]]))
        network.layers[1].weight.copy_(torch.tensor([[3.0, 0, 4, 0], [0, 1, 0, 0]]))
        network.layers[0].eta.fill_(1.0)  # rank 1, √12
        network.head.weight.copy_(torch.arange(5.0)[None])
    table = singular_values(network)
    found = {key: own["value"].tolist() for key, own in table.groupby(["matrix", "layer"])}
    assert found["W", "layers.0"] == pytest.approx([5, 3, 2])
    assert found["W", "layers.1"] == pytest.approx([5, 1])
    assert found["η", "layers.0"] == pytest.approx([12**0.5, 0, 0], abs=1e-6)
    assert len(found) == 3  # a vector of rates has no spectrum
    assert table.loc[table["layer"] == "layers.1", "number"].tolist() == [1, 2]
    assert readout(network).tolist() == [[0, 1, 2, 3, 4]]


def test_synapses_that_are_not_there_are_zero():
    torch.manual_seed(0)
    network = MPN((20, D), 1, [6], ["M"], sparsity=0.5)
    absent = ~network.layers[0].mask.numpy()
    assert 40 < absent.sum() < 110
    assert (weights(network)["layers.0"][absent] == 0).all()
    assert (rates_of(network)["layers.0"][absent] == 0).all()


# ---- what is written beside


def test_metadata_are_plain_and_say_what_it_is(kept, tmp_path):
    snapshot = kept(knows_the_last(), vec_len=25, repeat_prob=0.25)
    watched = watch(snapshot)
    found = json.loads(json.dumps(metadata(read_run(tmp_path / "run"), snapshot, watched)))
    assert (found["identity"], found["seed"], found["R"], found["updates"], found["task"]) == ("abc", 3, 1, 100, None)
    assert found["network"]["class"] == "Memo"
    assert found["network"]["parameter_count"] == 2 * D + 2 + 2 * D + 1 + 2 + 1  # W, b, η, λ; readout
    assert found["network"]["settings"]["hidden_dims"] == EXACT["hidden_dims"]
    assert found["task_settings"]["repeat_prob"] == 0.25
    assert found["movie"]["scenes"] == 100
    assert (found["movie"]["window"], found["movie"]["accuracy"]) == ([1, 97], 1)
    assert found["movie"]["chance"] == 0.8
    assert {"lop_lightning", "torch", "matplotlib"} <= set(found["versions"])
    silent = replace(watched, labels=0 * watched.labels)
    assert metadata(read_run(tmp_path / "run"), snapshot, silent)["movie"]["true_positive_rate"] is None


def test_reading_every_frame_leaves_the_network_as_it_was():
    network = memo()
    shown = at_every_frame(network)
    assert (shown.read_every, network.read_every) == (1, 4)
    assert shown.head is network.head
