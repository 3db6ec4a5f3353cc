"""HebbFF and multi-plasticity networks: their formulas, their variants, λ that is put back into its range."""

import math
from functools import partial

import pytest
import torch
from torch.func import functional_call

from lop_lightning.algos import Backprop, Execution
from lop_lightning.errors import ConfigError
from lop_lightning.networks import MPN, HebbFF
from lop_lightning.networks.hebbff import occurred_before
from lop_lightning.optimizers import SGD
from lop_lightning.randomness import normal
from lop_lightning.tasks.base import Chunk, Position, StreamSpec

FEATURES, FRAMES, BATCH = 5, 8, 3


def hebbff(seed=0, shape=(FRAMES, FEATURES), **settings):
    torch.manual_seed(seed)
    return HebbFF(shape, 1, **{"hidden": 4, "read_every": 1, **settings}).double()


def mpn(seed=0, shape=(FRAMES, FEATURES), **settings):
    torch.manual_seed(seed)
    return MPN(shape, 1, **{"hidden_dims": [4], "read_every": 1, **settings}).double()


def trained(updates, seeds, lr, **settings):
    """A learner after some updates of an MPN on the same movies, whichever other seeds there are."""
    spec = StreamSpec((FRAMES, FEATURES), 1, "sequence_cross_entropy", torch.float64, ragged=True, read_every=1)
    network = partial(MPN, plastic_types=["M", "A"], **settings)
    learner = Backprop(network, SGD(lr), Execution(False))
    learner.prepare(spec, seeds)
    x, y = movies(4, 2, 6, FRAMES, FEATURES), (movies(4, 2, 6, FRAMES, seed=3) > 0).long()
    chunk = Chunk(x[:updates, seeds], y[:updates, seeds], Position(), Position(0, 0, updates))
    learner.train_chunk(learner.population, chunk)
    return learner


def movies(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sign()


# ---- HebbFF


def hebbff_by_hand(network, movie, eta, decay, writes=None):
    """Logits ``[T]``."""
    layer, p, logits = network.layers[0], torch.zeros(4, FEATURES).double(), []
    for t, x in enumerate(movie):
        h = torch.sigmoid((layer.weight + p) @ x + layer.bias)
        p = decay * p + (eta * torch.outer(h, x) if writes is None or writes[t] else 0)
        logits.append(network.head.weight.expand(1, 4) @ h + network.head.bias)
    return torch.cat(logits)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize(("sign", "eta"), [("free", -1.0), ("anti", -1.0), ("hebbian", 1.0)])
@pytest.mark.parametrize(("decay", "raw"), [("clamp", 0.99), ("sigmoid", math.log(99)), ("exponential", 100.0)])
def test_hebbff_is_its_formulas(decay, raw, sign, eta, uniform):
    """F = 5, so that η begins at ±5/F = ±1; λ begins at 0.99 in every form."""
    network, x = hebbff(decay=decay, eta_sign=sign, uniform=uniform), movies(BATCH, FRAMES, FEATURES)
    layer = network.layers[0]
    assert layer.decay.item() == pytest.approx(raw)
    assert layer.eta.item() == pytest.approx(eta if sign == "free" else 0.0)
    expected = torch.stack([hebbff_by_hand(network, movie, eta, 0.99) for movie in x])
    torch.testing.assert_close(network(x)[0], expected, rtol=0, atol=1e-6 if decay == "clamp" else 1e-5)
    plain = hebbff(decay=decay, eta_sign=sign, uniform=uniform, scan="reference")
    torch.testing.assert_close(network(x)[0], plain(x)[0], rtol=0, atol=1e-12)
    assert [(key, round(value.item(), 5)) for key, value in network.constants().items()] == [
        (("decay", "layers.0"), 0.99), (("eta_mean", "layers.0"), eta), (("eta_std", "layers.0"), 0.0),
        (("eta_norm", "layers.0"), 1.0)]  # fmt: skip


def test_initial_distributions_of_hebbff():
    network = hebbff(hidden=400, shape=(FRAMES, 100))
    layer = network.layers[0]
    assert layer.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert layer.bias.std().item() == pytest.approx(1.0, rel=0.2)
    assert network.head.weight.std().item() == pytest.approx(0.05, rel=0.2)
    assert layer.eta.item() == pytest.approx(-0.05)
    assert hebbff(eta_init=-0.3).layers[0].eta.item() == pytest.approx(-0.3)
    shared = [hebbff(seed, uniform=True) for seed in range(300)]
    biases = torch.cat([network.layers[0].bias for network in shared])
    weights = torch.cat([network.head.weight for network in shared])
    assert biases.shape == (300,)
    assert 1.9 < biases.abs().max() < 2.0  # ±√N, N = 4
    assert biases.std().item() == pytest.approx(2 / 3**0.5, rel=0.1)
    assert weights.std().item() == pytest.approx(0.5**0.5, rel=0.15)


def test_numbers_of_parameters_of_hebbff():
    assert sum(p.numel() for p in HebbFF((8, 25), 1).parameters()) == 25 * 25 + 25 + 2 + 25 + 1
    assert sum(p.numel() for p in HebbFF((8, 25), 1, uniform=True).parameters()) == 25 * 25 + 1 + 2 + 1 + 1
    assert sum(p.numel() for p in HebbFF((8, 25), 1, plastic=False).parameters()) == 25 * 25 + 25 + 25 + 1


def test_units_that_share_everything_are_no_hidden_layer():
    assert hebbff(uniform=True).hidden_layers() == ()
    (view,) = hebbff().hidden_layers()
    assert (view.width, view.activation, view.own) == (4, "sigmoid", ())


def test_a_familiar_item_is_answered_less_by_anti_hebbian_units_and_more_by_hebbian_ones():
    item, others = movies(1, 1, 25), movies(1, 3, 25, seed=2)
    x = torch.cat([item, others, item], 1)
    for sign, side in (("anti", -1), ("hebbian", 1)):
        network = hebbff(hidden=100, shape=(5, 25), eta_sign=sign)
        frozen = hebbff(hidden=100, shape=(5, 25), eta_sign=sign, plastic=False)
        change = (network(x)[1]["layers.0"] - frozen(x)[1]["layers.0"])[0].mean(1)
        assert change[0] == 0
        assert change[4] * side > 0.1


def test_frames_that_occurred_before():
    x = torch.tensor([[1, -1], [1, 1], [1, -1], [-1, 1], [1, 1], [1, -1]]).double()
    other = torch.tensor([[1, -1], [1, 1], [-1, -1], [-1, 1], [-1, 1], [0, 0]]).double()
    expected = [[False, False, True, False, True, True], [False, False, False, False, True, False]]
    assert occurred_before(torch.stack([x, other], 1)).T.tolist() == expected


def test_only_what_is_new_is_written():
    network, plain = hebbff(write_gate=True), hebbff()
    x = movies(BATCH, FRAMES, FEATURES)
    x[:, 4], x[1, 6] = x[:, 1], x[1, 5]
    repeated = torch.tensor([[t > min(s for s in range(FRAMES) if torch.equal(movie[s], movie[t]))
                              for t in range(FRAMES)] for movie in x])  # fmt: skip
    assert repeated.sum() >= 4
    expected = torch.stack([hebbff_by_hand(network, movie, -1.0, network.layers[0].decay.detach(), ~there)
                            for movie, there in zip(x, repeated)])  # fmt: skip
    torch.testing.assert_close(network(x)[0], expected, rtol=0, atol=1e-6)
    assert torch.equal(network(x)[0][:, :5], network.unrolled(x).output[:, :5])
    torch.testing.assert_close(network(x)[0][:, :5], plain(x)[0][:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(network(x)[0][:, 5:], plain(x)[0][:, 5:])


def test_frozen_hebbff_is_a_perceptron():
    network, x = hebbff(plastic=False), movies(BATCH, FRAMES, FEATURES)
    w = dict(network.named_parameters())
    assert set(w) == {"layers.0.weight", "layers.0.bias", "head.weight", "head.bias"}
    h = (x @ w["layers.0.weight"].T + w["layers.0.bias"]).sigmoid()
    torch.testing.assert_close(network(x)[0], (h @ w["head.weight"].T + w["head.bias"])[..., 0], rtol=0, atol=1e-13)


# ---- λ after an update


@pytest.mark.parametrize("decay", ["clamp", "sigmoid", "exponential"])
def test_lambda_is_put_back_into_its_range_and_nothing_else_is(decay):
    network = hebbff(decay=decay)
    params = {name: 3.0 + 0 * p.detach() for name, p in network.named_parameters()}
    for raw, legal in {"clamp": [(3.0, 1.0), (-1.0, 0.001), (0.4, 0.4)], "sigmoid": [(3.0, 3.0), (-9.0, -9.0)],
                       "exponential": [(0.2, 1 / 0.999), (3.0, 3.0)]}[decay]:  # fmt: skip
        params["layers.0.decay"] = torch.tensor([raw])
        after = network.projected(params)
        assert after["layers.0.decay"].item() == pytest.approx(legal)
        assert all(torch.equal(after[n], p) for n, p in params.items() if n != "layers.0.decay")
    assert set(hebbff(plastic=False).projected({"head.bias": torch.ones(1)})) == {"head.bias"}


def test_training_keeps_lambda_in_its_range():
    learner = trained(4, [0, 1], 20.0, hidden_dims=[4, 3], decay_shape="post", decay_max=0.9)
    decays = torch.cat([learner.population.params[f"layers.{i}.decay"] for i in (0, 1)], 1)
    assert decays.shape == (2, 7, 1)
    assert decays.min().item() == pytest.approx(0.001)
    assert decays.max().item() == pytest.approx(0.9)


# ---- MPN


def mpn_by_hand(network, movie, kind, f, update="plain", product="both", bound="none", noise=None):
    """Logits ``[T]``; η, λ and P(0) as the parameters have them; ``noise [T, 4]`` is added to the sums."""
    layer = network.layers[0]
    mask = torch.ones(4, FEATURES) if layer.mask is None else layer.mask
    weight, eta, decay = layer.weight * mask, layer.eta * mask, layer.decay
    p = layer.start * mask if hasattr(layer, "start") else torch.zeros(4, FEATURES).double()
    logits = []
    for t, x in enumerate(movie):
        strength = weight * (1 + p) if kind == "M" else weight + p
        h = f(strength @ x + layer.bias + (0 if noise is None else noise[t]))
        c = torch.outer(
            torch.ones(4).double() if product == "pre" else h, torch.ones_like(x) if product == "post" else x
        )
        oja = h[:, None] ** 2 * p if update == "oja" else 0
        p = decay * p + eta * (c + oja)
        if update == "normalised":
            p = p / p.norm(dim=1, keepdim=True)
        p = p.tanh() if bound == "tanh" else p
        logits.append(network.head.weight @ h + network.head.bias)
    return torch.cat(logits)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "linear"])
@pytest.mark.parametrize("eta_shape", ["matrix", "post", "pre", "scalar"])
@pytest.mark.parametrize("decay_shape", ["matrix", "post", "pre", "scalar"])
@pytest.mark.parametrize("kind", ["M", "A"])
def test_mpn_is_its_formulas(kind, decay_shape, eta_shape, activation):
    settings = {"plastic_types": [kind], "decay_shape": decay_shape, "eta_shape": eta_shape, "activation": activation}
    network, x = mpn(decay_max=0.9, **settings), 0.3 * movies(BATCH, FRAMES, FEATURES)
    f = {"linear": lambda a: a}.get(activation) or getattr(torch, activation)
    expected = torch.stack([mpn_by_hand(network, movie, kind, f) for movie in x])
    torch.testing.assert_close(network(x)[0], expected, rtol=1e-12, atol=1e-12)
    plain = mpn(decay_max=0.9, scan="reference", **settings)
    torch.testing.assert_close(network(x)[0], plain(x)[0], rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(n(x)[0].square().sum(), list(n.parameters())) for n in (network, plain)]
    for own, other in zip(*grads):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "settings",
    [{"update": "oja"}, {"update": "normalised"}, {"product": "pre"}, {"product": "post"}, {"bound": "tanh"},
     {"update": "oja", "product": "post", "bound": "tanh"}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("start", ["zero", "trained"])
@pytest.mark.parametrize("kind", ["M", "A"])
def test_variants_of_mpn(kind, start, settings):
    network = mpn(plastic_types=[kind], start=start, sparsity=0.4, **settings)
    assert 0 < network.layers[0].mask.sum() < 20
    if start == "trained":
        assert not network.layers[0].start.any()
        with torch.no_grad():
            network.layers[0].start.copy_(movies(4, FEATURES))
    x = movies(BATCH, FRAMES, FEATURES)
    if settings.get("update") == "normalised":
        network.layers[0].mask.fill_(True)  # a row without synapses has no norm
    expected = torch.stack([mpn_by_hand(network, movie, kind, torch.tanh, **settings) for movie in x])
    torch.testing.assert_close(network(x)[0], expected, rtol=0, atol=1e-12)
    grads = torch.autograd.grad(network(x)[0].sum(), list(network.parameters()))
    assert all(g.isfinite().all() and g.any() for g in grads)


@pytest.mark.parametrize("scan", ["fast", "reference"])
@pytest.mark.parametrize("kind", ["M", "A"])
def test_noise_of_mpn_is_in_training_only(kind, scan):
    network = mpn(plastic_types=[kind], input_noise=0.2, hidden_noise=0.1, scan=scan)
    x, clock = movies(BATCH, FRAMES, FEATURES), torch.tensor(7)
    network.noise_clock.copy_(clock)
    read, sums = (
        normal(network.noise_key, clock, channel, (FRAMES, BATCH, n), x.dtype) for channel, n in ((0, 5), (1, 4))
    )
    expected = torch.stack([
        mpn_by_hand(network, x[b] + 0.2 * read[:, b], kind, torch.tanh, noise=0.1 * sums[:, b]) for b in range(BATCH)
    ])  # fmt: skip
    trace = network.trace(x)
    torch.testing.assert_close(trace.output, expected, rtol=0, atol=1e-12)
    assert trace.buffers == {"noise_clock": clock + 1}
    quiet = network.eval().trace(x)
    torch.testing.assert_close(quiet.output, torch.stack([mpn_by_hand(network, one, kind, torch.tanh) for one in x]))
    assert not quiet.buffers
    assert not dict(mpn().named_buffers())


def test_noise_of_mpn_is_new_in_every_layer_and_update_and_the_same_for_seeds_alone():
    noisy = {"lr": 0.1, "hidden_dims": [4, 4], "input_noise": 0.1, "hidden_noise": 0.1}
    together, buffers = trained(4, [0, 1], **noisy), trained(3, [0, 1], **noisy).population.state["buffers"]
    assert buffers["noise_clock"].tolist() == [3, 3]
    assert len(set(buffers["noise_key"].tolist())) == 2
    for row in (0, 1):
        for name, p in trained(4, [row], **noisy).population.params.items():
            torch.testing.assert_close(together.population.params[name][row], p[0])
    network = together.network(1).train()
    x = movies(2, FRAMES, 4)
    before = [network._noise(layer, x) for layer in (0, 1)]
    assert not torch.equal(*before)
    network.noise_clock += 1
    assert not torch.equal(network._noise(0, x), before[0])


def test_synapses_that_are_not_there_have_no_gradient_and_change_nothing():
    network, x = mpn(sparsity=0.5, plastic_types=["A"]), movies(BATCH, FRAMES, FEATURES)
    layer, before = network.layers[0], network(x)[0]
    before.sum().backward()
    for p in (layer.weight, layer.eta):
        assert torch.equal(p.grad != 0, layer.mask)
    with torch.no_grad():
        for p in (layer.weight, layer.eta):
            p[~layer.mask] += 1
    assert torch.equal(network(x)[0], before)
    assert mpn(1, sparsity=0.5).layers[0].mask.tolist() != layer.mask.tolist()


def test_initial_distributions_of_mpn():
    network = mpn(hidden_dims=[300], shape=(FRAMES, 100), decay_shape="post", eta_shape="post", decay_max=0.8)
    layer = network.layers[0]
    for values, bound in ((layer.weight, (6 / 400) ** 0.5), (layer.eta, (6 / 300) ** 0.5),
                          (network.head.weight, (6 / 301) ** 0.5)):  # fmt: skip
        assert 0.95 * bound < values.abs().max() <= bound
        assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not layer.bias.any()
    assert not network.head.bias.any()
    assert 0.001 <= layer.decay.min() < 0.02
    assert 0.78 < layer.decay.max() <= 0.8
    assert mpn(decay_max=0.95).layers[0].decay.item() == pytest.approx(0.95)
    assert mpn(eta_shape="scalar").layers[0].eta.item() == pytest.approx(-1.0)
    assert (mpn(hidden_dims=[50]).layers[0].eta.abs() <= (6 / 55) ** 0.5).all()


def test_the_view_of_mpn_has_all_that_is_a_units_own():
    network = mpn(hidden_dims=[4, 3], plastic_types=["M", "A"], decay_shape="matrix", start="trained")
    first, second = network.hidden_layers()
    assert [place.parameter for place, _ in first.own] == ["layers.0.eta", "layers.0.decay", "layers.0.start"]
    leaving = ["layers.1.weight", "layers.1.eta", "layers.1.start"]
    assert [entry.units.parameter for entry in first.fan_out] == leaving
    assert [entry.bias for entry in first.fan_out] == ["layers.1.bias", None, None]
    assert second.fan_out[0].units.parameter == "head.weight"
    params = {n: p.detach().clone() for n, p in network.named_parameters()}
    with torch.no_grad():
        params["layers.1.start"] += 1
        for entry in first.fan_out:
            params[entry.units.parameter][:, 2] = 0
    other = {n: p.clone() for n, p in params.items()}
    for name in ("weight", "bias", "eta"):
        other[f"layers.0.{name}"][2] += 1
    x = movies(BATCH, FRAMES, FEATURES)
    assert torch.equal(functional_call(network, params, (x,))[0], functional_call(network, other, (x,))[0])
    draw = first.own[1][1]
    assert (draw.centre - draw.scale, draw.centre + draw.scale) == pytest.approx((0.001, 1.0))


@pytest.mark.parametrize(
    ("kind", "settings", "line"),
    [
        (HebbFF, {"decay": "tau"}, "decay=tau"),
        (HebbFF, {"decay_init": 1.5}, "decay_init=1.5"),
        (HebbFF, {"decay": "sigmoid", "decay_init": 1}, "decay_init=1"),
        (HebbFF, {"eta_sign": "hebb"}, "did you mean 'hebbian'"),
        (HebbFF, {"eta_sign": "anti", "eta_init": 0.5}, "a number below 0"),
        (HebbFF, {"eta_sign": "hebbian", "eta_init": 0}, "a number above 0"),
        (HebbFF, {"eta_init": "x"}, "eta_init=x"),
        (HebbFF, {"write_gate": 1}, "write_gate=1"),
        (HebbFF, {"hidden": 0}, "hidden=0"),
        (MPN, {"plastic_types": ["M", "A"]}, "plastic_types=['M', 'A']"),
        (MPN, {"eta_shape": "posts"}, "did you mean 'post'"),
        (MPN, {"decay_max": 1.1}, "decay_max=1.1"),
        (MPN, {"activation": "gelu"}, "activation=gelu"),
        (MPN, {"update": "hebb"}, "update=hebb"),
        (MPN, {"product": "none"}, "product=none"),
        (MPN, {"bound": "relu"}, "bound=relu"),
        (MPN, {"start": "one"}, "start=one"),
        (MPN, {"sparsity": 1.0}, "sparsity=1.0"),
        (MPN, {"hidden_dims": []}, "hidden_dims=[]"),
        (MPN, {"input_noise": -0.1}, "input_noise=-0.1"),
        (MPN, {"hidden_noise": "much"}, "hidden_noise=much"),
    ],
)
def test_a_wrong_setting_is_one_line(kind, settings, line):
    with pytest.raises(ConfigError) as error:
        kind((FRAMES, FEATURES), 1, **settings)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
