"""Memo, Nonl_RO, Dyn_RO and Stack: counts, formulas, sequences that end, readings, the layer view, training."""

from functools import partial

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from lop_lightning.algos import Backprop, ContinualBackprop, Execution
from lop_lightning.errors import ConfigError
from lop_lightning.networks import DynamicReadout, Memo, NonlinearReadout, Stack
from lop_lightning.networks.base import Unroller
from lop_lightning.optimizers import Adam
from lop_lightning.tasks.base import Chunk, Position, StreamSpec

NETWORKS = {"memo": Memo, "nonl_ro": NonlinearReadout, "dyn_ro": DynamicReadout, "stack": Stack}
FEATURES, FRAMES, EVERY, BATCH = 5, 12, 4, 3
NAN = float("nan")


def made(name, seed=0, **settings):
    """A small network of two layers; ``settings`` of the first layers alone are cut for Nonl_RO."""
    torch.manual_seed(seed)
    settings = {"hidden_dims": [4, 3], "plastic_types": ["M", "A"], "hetero_rates": [1, 1], **settings}
    if name == "nonl_ro":
        settings |= {key: settings[key][:1] for key in ("plastic_types", "hetero_rates")}
    shape = settings.pop("input_shape", (FRAMES, FEATURES))
    return NETWORKS[name](shape, settings.pop("output_size", 1), **{"read_every": EVERY, **settings}).double()


def movies(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).sign()


FULL = {"input_shape": (400, 25)}


@pytest.mark.parametrize(
    ("name", "dims", "count"),
    [
        ("memo", [100], 5202), ("memo", [50], 2602), ("memo", [50, 50], 7653), ("memo", [25, 25], 2578),
        ("memo", [100, 100], 25303), ("nonl_ro", [100, 100], 15302), ("nonl_ro", [50, 50], 5152),
        ("dyn_ro", [50, 50], 7653 - 1), ("dyn_ro", [25, 25], 2578 - 1), ("stack", [50, 50], 5203),
    ],
)  # fmt: skip
def test_numbers_of_parameters(name, dims, count):
    kinds = ["M"] * len(dims)
    network = made(name, hidden_dims=dims, plastic_types=kinds, hetero_rates=[1] * len(dims), **FULL)
    assert sum(p.numel() for p in network.parameters()) == count


def test_names_and_initial_distributions():
    network = made("memo", hidden_dims=[300, 200], hetero_rates=[1, 0.5], eta_init_scale=0.5, **FULL)
    params = dict(network.named_parameters())
    parts = ("weight", "bias", "eta", "decay")
    assert list(params) == [f"layers.{i}.{part}" for i in (0, 1) for part in parts] + ["head.weight", "head.bias"]
    stds = {"layers.0.weight": (2 / 325) ** 0.5, "layers.1.weight": (2 / 500) ** 0.5, "layers.0.bias": (2 / 301) ** 0.5,
            "layers.1.bias": (2 / 201) ** 0.5, "layers.0.eta": 0.5 * (2 / 325) ** 0.5,
            "layers.1.eta": 0.5 * (2 / 201) ** 0.5, "head.weight": (2 / 201) ** 0.5}  # fmt: skip
    for name, std in stds.items():
        assert params[name].std().item() == pytest.approx(std, rel=4 / params[name].numel() ** 0.5), name
        assert abs(params[name].mean().item()) < 4 * std / params[name].numel() ** 0.5, name
    assert params["layers.1.eta"].shape == (200, 1)
    assert [params[f"layers.{i}.decay"].tolist() for i in (0, 1)] == [[1.0], [1.0]]
    biases = torch.stack([made("memo", seed).head.bias.detach() for seed in range(300)])
    assert biases.std().item() == pytest.approx(1.0, rel=0.2)
    scalars = made("memo", hetero_rates=["scalar", 0], eta_init_scale=0.5)
    assert scalars.layers[0].eta.tolist() == scalars.layers[1].eta.tolist() == [-0.5]


def by_hand(name, network, x, plastic=True):
    """Logits ``[T]`` of one movie ``[T, F]``, frame by frame, as the table of the spec has the networks."""
    layers = network.layers
    activations = {"memo": ("tanh", "sigmoid"), "nonl_ro": ("tanh", "sigmoid"), "dyn_ro": ("tanh", "sigmoid"),
                   "stack": ("sigmoid", "sigmoid")}[name]  # fmt: skip
    kinds = {"memo": "MA", "nonl_ro": "M-", "dyn_ro": "MA", "stack": "MA"}[name]
    traces = [torch.zeros_like(layer.weight) for layer in layers]
    logits = []
    for frame in x:
        read, seen = frame, []
        for i, layer in enumerate(layers):
            weight, p = layer.weight, traces[i]
            strength = weight * (1 + p) if kinds[i] == "M" else weight + p
            h = getattr(torch, activations[i])(strength @ read + layer.bias)
            if plastic and kinds[i] != "-":
                decay = torch.sigmoid(layer.decay) if not (name == "dyn_ro" and i) else 0.0
                traces[i] = decay * p + layer.eta * torch.outer(h, read)
            seen.append(h)
            read = frame if name == "stack" else h
        joined = torch.cat(seen) if name == "stack" else seen[-1]
        logits.append(network.head.weight @ joined + network.head.bias)
    return torch.stack(logits)[:, 0]


@pytest.mark.parametrize("rate", ["matrix", "post", "pre", "scalar"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_its_formulas(name, rate):
    network, x = made(name, hetero_rates=[rate, rate]), movies(BATCH, FRAMES, FEATURES)
    expected = torch.stack([by_hand(name, network, movie) for movie in x])
    trace = network.trace(x)
    torch.testing.assert_close(trace.output, expected[:, EVERY - 1 :: EVERY], rtol=0, atol=1e-12)
    torch.testing.assert_close(network.unrolled(x).output, trace.output, rtol=0, atol=1e-12)
    final = made(name, hetero_rates=[rate, rate], read_every=None)
    torch.testing.assert_close(final(x)[0][:, 0], expected[:, -1], rtol=0, atol=1e-12)
    assert {key: tuple(h.shape) for key, h in trace.activations.items()} == {
        "layers.0": (BATCH, FRAMES, 4), "layers.1": (BATCH, FRAMES, 3)}  # fmt: skip
    for layer in network.hidden_layers():
        a, h = trace.preactivations[layer.name], trace.activations[layer.name]
        torch.testing.assert_close(getattr(torch, layer.activation)(a), h)


@pytest.mark.parametrize("truncation", [0, 8])
@pytest.mark.parametrize("rates", [["matrix", "matrix"], ["post", "scalar"], ["scalar", "pre"]])
@pytest.mark.parametrize("kinds", [["M", "A"], ["A", "M"]])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_the_quick_way_are_those_of_the_plain_one(name, kinds, rates, truncation):
    settings = {"plastic_types": kinds, "hetero_rates": rates, "truncation": truncation, "ragged": True}
    fast, plain = made(name, **settings), made(name, scan="reference", **settings)
    x = movies(BATCH, FRAMES, FEATURES)
    x[:, 8:] = NAN
    weights = torch.randn(BATCH, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for network in (fast, plain):
        (network(x)[0] * weights)[:, :2].sum().backward()
    torch.testing.assert_close(fast(x)[0], plain(x)[0], rtol=0, atol=1e-12)
    grads = {key: p.grad for key, p in plain.named_parameters()}
    for key, p in fast.named_parameters():
        torch.testing.assert_close(p.grad, grads[key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scan", ["fast", "reference"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_different_lengths_together_are_each_alone(name, scan):
    lengths = [8, 12, 4]
    networks = [made(name, seed, ragged=True, scan=scan) for seed in range(3)]
    params = {n: torch.stack([dict(m.named_parameters())[n].detach() for m in networks]) for n, _ in
              networks[0].named_parameters()}  # fmt: skip
    x = movies(3, BATCH, FRAMES, FEATURES)
    for row, length in zip(x, lengths):
        row[:, length:] = NAN
    weights = torch.randn(3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    class Tracer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = networks[0]

        def forward(self, x):
            return self.network.trace(x)

    def loss(params, x, length):
        trace = functional_call(Tracer(), {f"network.{n}": p for n, p in params.items()}, (x,))
        readings = trace.output.shape[1]
        there = torch.arange(readings) < length // EVERY
        shown = {"output": trace.output, "lengths": trace.lengths, **trace.activations}
        return torch.where(there, trace.output * weights[:readings], 0.0).sum(), shown

    grads, shown = torch.vmap(torch.func.grad(loss, has_aux=True))(params, x, torch.tensor(lengths))
    assert shown["lengths"].tolist() == [[length] * BATCH for length in lengths]
    assert shown["output"].isfinite().all()
    for row, length in enumerate(lengths):
        alone = {n: p[row] for n, p in params.items()}
        own, given = torch.func.grad(loss, has_aux=True)(alone, x[row, :, :length], torch.tensor(length))
        torch.testing.assert_close(shown["output"][row, :, : length // EVERY], given["output"], rtol=0, atol=1e-12)
        assert not shown["layers.1"][row, :, length:].any()
        for n, g in own.items():
            torch.testing.assert_close(grads[n][row], g, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", NETWORKS)
def test_examples_do_not_depend_on_each_other(name):
    network, x = made(name), movies(4, FRAMES, FEATURES)
    whole = network(x)[0]
    for row in range(4):
        torch.testing.assert_close(network(x[row : row + 1])[0], whole[row : row + 1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_it_is_an_ordinary_network(name):
    network, plastic, x = made(name, plastic=False), made(name), movies(BATCH, FRAMES, FEATURES)
    own, other = network.state_dict(), plastic.state_dict()
    assert set(other) - set(own) == {n for n in other if n.endswith((".eta", ".decay"))}
    assert all(torch.equal(own[n], other[n]) for n in own)
    w = dict(network.named_parameters())
    first = torch.sigmoid if name == "stack" else torch.tanh
    h0 = first(F.linear(x, w["layers.0.weight"], w["layers.0.bias"]))
    h1 = F.linear(x if name == "stack" else h0, w["layers.1.weight"], w["layers.1.bias"]).sigmoid()
    h = torch.cat([h0, h1], -1) if name == "stack" else h1
    expected = F.linear(h, w["head.weight"], w["head.bias"])[..., 0]
    torch.testing.assert_close(network(x)[0], expected[:, EVERY - 1 :: EVERY], rtol=0, atol=1e-13)
    assert network.constants() == {}
    assert network.plastic_states(x) == {}


def test_a_stack_is_one_layer_of_all_rows():
    """Its branches, each alone in a Memo of one layer, show the same."""
    stack, x = made("stack", hetero_rates=[0, 0.5]), movies(BATCH, FRAMES, FEATURES)
    with torch.no_grad():
        stack.layers[1].decay.fill_(-0.5)
    activations = stack(x)[1]
    for index, units in enumerate((4, 3)):
        alone = made("memo", hidden_dims=[units], plastic_types=["MA"[index]], hetero_rates=[[0, 0.5][index]])
        alone.layers[0].load_state_dict(stack.layers[index].state_dict())
        torch.testing.assert_close(alone(x)[1]["layers.0"], activations[f"layers.{index}"], rtol=0, atol=1e-13)


@pytest.mark.parametrize("dims", [[4], [4, 3], [4, 3, 2]])
def test_nonlinearities(dims):
    def names(name, **settings):
        kinds = {"plastic_types": ["M"] * len(dims), "hetero_rates": [1] * len(dims)}
        return [layer.activation for layer in made(name, hidden_dims=dims, **kinds, **settings).hidden_layers()]

    many = len(dims) - 1
    assert names("memo") == ["tanh"] * many + ["sigmoid"]
    assert names("nonl_ro") == ["tanh"] + ["sigmoid"] * many
    assert names("stack") == ["sigmoid"] * len(dims)
    assert names("dyn_ro") == (["tanh"] * many + ["sigmoid"] if many else ["tanh"])


def test_several_outputs_and_images():
    network = made("memo", output_size=2)
    x = movies(BATCH, FRAMES, FEATURES)
    logits = F.linear(network(x)[1]["layers.1"][:, EVERY - 1 :: EVERY], network.head.weight, network.head.bias)
    assert torch.equal(network(x)[0], logits.flatten(1))
    assert network.head.weight.shape == (2, 3)
    images = made("memo", input_shape=(3, 7, 6), read_every=None, output_size=10)
    shown = images.trace(movies(2, 3, 7, 6))
    assert shown.output.shape == (2, 10)
    assert shown.activations["layers.0"].shape == (2, 7, 4)
    assert images.layers[0].weight.shape == (4, 18)


def test_plastic_weights_of_some_frames():
    network, x = made("dyn_ro"), movies(BATCH, FRAMES, FEATURES)
    h = network(x)[1]
    p = network.plastic_states(x, slice(5, 8))
    assert {name: tuple(t.shape) for name, t in p.items()} == {
        "layers.0": (BATCH, 3, 4, FEATURES), "layers.1": (BATCH, 3, 3, 4)}  # fmt: skip
    product = torch.einsum("bi,bj->bij", h["layers.1"][:, 4], h["layers.0"][:, 4])
    torch.testing.assert_close(p["layers.1"][:, 0], network.layers[1].eta * product)
    change = p["layers.0"][:, 1] - network.layers[0].decays() * p["layers.0"][:, 0]
    torch.testing.assert_close(change, network.layers[0].eta * torch.einsum("bi,bj->bij", h["layers.0"][:, 5], x[:, 5]))
    assert list(made("nonl_ro").plastic_states(x)) == ["layers.0"]


def test_constants():
    network = made("dyn_ro", hetero_rates=[1, 0])
    eta = network.layers[0].eta
    expected = {
        ("decay", "layers.0"): 0.7310585786,
        ("eta_mean", "layers.0"): eta.mean(),
        ("eta_std", "layers.0"): (eta - eta.mean()).square().mean().sqrt(),
        ("eta_norm", "layers.0"): eta.norm(),
        ("eta_mean", "layers.1"): -0.5,
        ("eta_std", "layers.1"): 0.0,
        ("eta_norm", "layers.1"): 0.5,
    }
    found = network.constants()
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].ndim == 0
        assert found[key].item() == pytest.approx(torch.as_tensor(value).item())


# ---- the layer view


def owned(tensors, place, unit):
    """What belongs to a unit in a parameter, to write to."""
    (entry,) = place.entries(torch.tensor([unit])).tolist()
    return tensors[place.parameter].movedim(place.axis, 0)[entry]


RATES = [[1, 1], [0.5, 0.5], ["pre", "pre"], [0, 0]]


@pytest.mark.parametrize("rates", RATES, ids=str)
@pytest.mark.parametrize("kinds", [["M", "A"], ["A", "M"]], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_row_and_column_has_its_owner(name, kinds, rates):
    network = made(name, plastic_types=kinds, hetero_rates=rates)
    params, layers = dict(network.named_parameters()), network.hidden_layers()
    rows = sorted((place.parameter, place.axis, entry) for layer in layers for unit in range(layer.width)
                  for place in (*(e.units for e in layer.fan_in), *layer.bias, *(p for p, _ in layer.own))
                  for entry in place.entries(torch.tensor([unit])).tolist())  # fmt: skip
    apart = [n for n, p in params.items() if not n.startswith("head") and p.shape[0] > 1]
    assert rows == sorted((n, 0, row) for n in apart for row in range(len(params[n])))
    columns = sorted((e.units.parameter, 1, entry) for layer in layers for unit in range(layer.width)
                     for e in layer.fan_out for entry in e.units.entries(torch.tensor([unit])).tolist())  # fmt: skip
    read = ["head.weight"] if name == "stack" else ["layers.1.weight", "head.weight"]
    if name in ("memo", "dyn_ro") and kinds[1] == "A" and rates[1] in (1, "pre"):
        read.append("layers.1.eta")
    assert columns == sorted((n, 1, column) for n in read for column in range(params[n].shape[1]))
    for layer, units in zip(layers, (4, 3)):
        inputs = params[f"{layer.name}.weight"].shape[1]
        assert (layer.width, layer.unit_axis, layer.is_sequence) == (units, -1, True)
        assert layer.fan_in[0].draw.scale == pytest.approx((2 / (units + inputs)) ** 0.5)
        assert layer.bias_draw.scale == pytest.approx((2 / (units + 1)) ** 0.5)
        assert layer.fan_in[0].draw.distribution == layer.bias_draw.distribution == "normal"
    assert layers[-1].fan_out[0].reads == "every"
    assert made(name, read_every=None).hidden_layers()[-1].fan_out[0].reads == "final"
    assert all(e.bias is None or e.bias in params for layer in layers for e in layer.fan_out)


@pytest.mark.parametrize("kinds", [["M", "M"], ["A", "A"]], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_unit_speaks_through_its_columns_alone(name, kinds):
    """Without them nobody hears what it does; with them somebody does; and what enters it is all that it depends on."""
    network, x = made(name, plastic_types=kinds), movies(BATCH, FRAMES, FEATURES)
    original = {n: p.detach().clone() for n, p in network.named_parameters()}

    def output(params):
        return functional_call(network, params, (x,))

    for layer in network.hidden_layers():
        for silent in (True, False):
            before, after = ({n: p.clone() for n, p in original.items()} for _ in range(2))
            for tensors in (before, after):
                for entry in layer.fan_out if silent else ():
                    owned(tensors, entry.units, 2).zero_()
            for place in (*(e.units for e in layer.fan_in), *layer.bias, *(p for p, _ in layer.own)):
                owned(after, place, 2).add_(0.7)
            was, now = output(before), output(after)
            assert torch.equal(was[0], now[0]) == silent, (layer.name, silent)
            others = [unit for unit in range(layer.width) if unit != 2]
            assert torch.equal(was[1][layer.name][..., others], now[1][layer.name][..., others])
            assert not torch.allclose(was[1][layer.name][..., 2], now[1][layer.name][..., 2])


# ---- in training


def spec():
    return StreamSpec((FRAMES, FEATURES), 1, "sequence_cross_entropy", torch.float64, ragged=True, read_every=EVERY)


def trained(name, kind=Backprop, seeds=(0, 1), updates=5, **settings):
    settings = {"hidden_dims": [4, 3], **settings}
    learner = kind(partial(NETWORKS[name], **settings), Adam(0.05, clip=1.0), Execution(False))
    learner.prepare(spec(), list(seeds))
    x, y = movies(updates, 2, 6, FRAMES, FEATURES), (movies(updates, 2, 6, 3, seed=3) > 0).long()
    x[1::2, 1, :, 8:], y[1::2, 1, :, 2:] = NAN, -1
    chunk = Chunk(x[:, seeds], y[:, seeds], Position(), Position(0, 0, updates))
    return learner, learner.train_chunk(learner.population, chunk)


@pytest.mark.parametrize("name", NETWORKS)
def test_seeds_trained_together_are_seeds_trained_apart(name):
    rates = {"hetero_rates": [0] if name == "nonl_ro" else [0, 0.5]}
    together, measured = trained(name, **rates)
    assert measured.isfinite().all()
    for row in (0, 1):
        alone, own = trained(name, seeds=(row,), **rates)
        torch.testing.assert_close(measured[:, row], own[:, 0])
        for n, p in alone.population.params.items():
            torch.testing.assert_close(together.population.params[n][row], p[0])
    fresh = together.new_population().params
    assert all((together.population.params[n] != p).any() for n, p in fresh.items())


@pytest.mark.parametrize("name", NETWORKS)
def test_continual_backprop_renews_a_unit_with_its_rates(name):
    kind = partial(ContinualBackprop, replacement_rate=0.25, maturity_threshold=2)
    learner, _ = trained(name, kind, updates=3)
    never, _ = trained(name, partial(ContinualBackprop, replacement_rate=0.0), updates=3)
    params, before = learner.population.params, never.population.params
    changed = (params["layers.0.weight"] - before["layers.0.weight"]).abs().sum(2)
    for row, unit in enumerate(changed.argmax(1).tolist()):
        assert changed[row, unit] > 0
        assert (params["layers.0.eta"][row, unit] != before["layers.0.eta"][row, unit]).all()
        reader = "head" if name == "stack" else "layers.1"
        assert not params[f"{reader}.weight"][row, :, unit].any()
        if name in ("memo", "dyn_ro"):
            assert not params["layers.1.eta"][row, :, unit].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_compiled_is_eager_on_images(name):
    network, x = made(name, input_shape=(7, 6), read_every=None), movies(2, 3, 7, 6)
    params = {n: torch.stack([p.detach(), p.detach() * 0.9]) for n, p in network.named_parameters()}

    def gradients(params, x):
        return torch.vmap(torch.func.grad(lambda p, x: functional_call(network, p, (x,))[0].square().sum()))(params, x)

    compiled = torch.compile(gradients, fullgraph=True, backend="aot_eager")(params, x)
    for n, g in gradients(params, x).items():
        torch.testing.assert_close(compiled[n], g)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_by_states_at_every_frame(name):
    network, x = made(name), movies(BATCH, FRAMES, FEATURES)
    nudges = {layer.name: torch.zeros(BATCH, FRAMES, layer.width).double() for layer in network.hidden_layers()}
    shown = Unroller(network)(x, nudges)
    assert shown.states["layers.1"].shape == (BATCH, FRAMES, 3)

    def total(nudges):
        return network.unrolled(x, nudges).output.sum()

    g = torch.func.grad(total)(nudges)["layers.0"]
    step = torch.zeros_like(nudges["layers.0"])
    step[1, 3, 2] = 1e-6
    slope = (total({**nudges, "layers.0": step}) - total({**nudges, "layers.0": -step})) / 2e-6
    assert g[1, 3, 2].item() == pytest.approx(slope.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("memo", {"hetero_rates": [1]}, "hetero_rates=[1] is not legal"),
        ("memo", {"plastic_types": ["M"]}, "plastic_types=['M'] is not legal: expected a list"),
        ("memo", {"plastic_types": ["M", "B"]}, "plastic_types=B is not legal: expected M (multiplicative) or A"),
        ("memo", {"hetero_rates": [1, 2]}, "hetero_rates=2 is not legal: expected 1 or matrix, 0.5 or post"),
        ("memo", {"hetero_rates": [1, "pots"]}, "did you mean 'post'"),
        ("memo", {"hidden_dims": []}, "hidden_dims=[]"),
        ("memo", {"hidden_dims": [3, 0]}, "hidden_dims=0"),
        ("memo", {"hidden_dims": 3}, "hidden_dims=3"),
        ("memo", {"plastic_types": "MA"}, "plastic_types=MA"),
        ("stack", {"hidden_dims": [3]}, "plastic_types"),
        ("dyn_ro", {"hidden_dims": [3, 3, 3]}, "3 of them"),
        ("memo", {"scan": "quick"}, "scan=quick"),
        ("memo", {"plastic": "no"}, "plastic=no"),
        ("memo", {"eta_init_scale": "x"}, "eta_init_scale=x"),
        ("memo", {"read_every": 5}, "read_every=5"),
        ("memo", {"input_shape": (4,), "read_every": None}, "input_shape"),
    ],
)
def test_a_wrong_setting_is_one_line(name, settings, line):
    with pytest.raises(ConfigError) as error:
        made(name, **settings)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_the_readout_of_ordinary_layers_has_one_plastic_type():
    with pytest.raises(ConfigError, match=r"plastic_types.*1 of them"):
        NonlinearReadout((FRAMES, FEATURES), 1, plastic_types=["M", "A"])
