"""Leaky networks: the published numbers, the formulas step by step, sequences that end, seeds together."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from lop_lightning.algos import Backprop, ContinualBackprop, Execution
from lop_lightning.algos.losses import multi_head_cross_entropy
from lop_lightning.errors import ConfigError
from lop_lightning.networks import LeakyNetwork
from lop_lightning.networks.leaky import EVALUATION
from lop_lightning.networks.leaky_loops import apart
from lop_lightning.optimizers import SGD
from lop_lightning.randomness import uniform
from lop_lightning.tasks.base import Chunk, Position, StreamSpec

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "timescales_networks.json").read_text())
SMALL = GOLDEN["small"]
CASES = {
    "default_leakyrelu": {"dynamics": "default", "activation": "leaky_relu"},
    "mod_leakyrelu": {"dynamics": "mod", "activation": "leaky_relu"},
    "mod_tanh": {"dynamics": "mod", "activation": "tanh"},
    "mod_relu": {"dynamics": "mod", "activation": "relu"},
    "mod_sigmoid": {"dynamics": "mod", "activation": "sigmoid"},
    "default_fixed_tau2": {"dynamics": "default", "tau": 2.0, "trainable_tau": False, "shared_tau": True},
    "mod_fixed_tau2": {"dynamics": "mod", "tau": 2.0, "trainable_tau": False, "shared_tau": True},
    "continuous_k1": {"dynamics": "continuous"},
    "continuous_k3_inputs_repeated_3x": {"dynamics": "continuous"},
}
LABELS = [[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
FORMS = [("default", "leaky_relu"), ("default", "tanh"), ("mod", "leaky_relu"), ("mod", "relu"), ("mod", "tanh"),
         ("mod", "sigmoid")]  # fmt: skip


def small(case, **settings):
    """The golden network and its inputs ``[4, T, F]``."""
    settings = {**CASES[case], **settings}
    timed = settings["dynamics"] == "continuous"
    x = torch.tensor(SMALL["sequence_batch_first"], dtype=torch.float32)[..., None]
    k = 3 if "k3" in case else 1
    if timed:
        x = x.repeat_interleave(k, 1)
        x = torch.cat([x, torch.full_like(x, 1 / k)], 2)
    network = LeakyNetwork(x.shape[1:], 6, 8, heads=3, timed=timed, **settings)
    given = {
        "recurrent.weight": SMALL["W_hh (given with non-zero diagonal; model zeroes the diagonal first)"],
        "recurrent.bias": SMALL["b_hh"], "inward.weight": SMALL["W_in"], "inward.bias": SMALL["b_in"],
        "head.weight": torch.tensor(SMALL["W_heads[k][class][n]"]).flatten(0, 1),
        "head.bias": torch.tensor(SMALL["b_heads"]).flatten(),
    }  # fmt: skip
    if settings.get("trainable_tau", True):
        given["tau"] = SMALL["taus_raw"]
    network.load_state_dict({name: torch.as_tensor(value) for name, value in given.items()}, strict=False)
    network.first_states = lambda batch, like: torch.tensor(SMALL["h0[batch][n]"])
    return network, x


def close(own, golden, **tolerances):
    torch.testing.assert_close(
        own, torch.as_tensor(golden, dtype=own.dtype), **{"rtol": 2e-5, "atol": 2e-7} | tolerances
    )


@pytest.mark.parametrize("case", CASES)
def test_states_and_answers_are_the_published_codes(case):
    network, x = small(case)
    golden, states = SMALL[case], network.states(x)
    for t, own in ((1, states[:, 0]), (5, states[:, 4]), ("last", states[:, -1])):
        close(own, golden[f"hidden_{t}" if t == "last" else f"hidden_t{t}"], atol=1e-6)
    close(network(x)[0].view(4, 3, 2).transpose(0, 1), golden["logits_last[head][batch][class]"], atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_two_steps_of_training_are_the_published_codes(case):
    """Nesterov's momentum and clipping included; self-connections count in the norm, as they do there."""
    network, x = small(case, reference_compat=True)
    golden, optimizer = SMALL[case], SGD(0.05, 0.1, nesterov=True, clip=2.0)
    params = {name: p.detach().clone() for name, p in network.named_parameters()}
    state, y = optimizer.init(params), torch.tensor(LABELS).T
    for step in golden["train_steps"]:
        loss, grads = loss_and_gradients(network, params, x, y)
        close(loss, step["loss"])
        names = {"grad_taus": "tau", "grad_W_hh": "recurrent.weight", "grad_b_hh": "recurrent.bias",
                 "grad_W_in": "inward.weight"}  # fmt: skip
        for theirs, ours in names.items():
            if step.get(theirs) is not None:
                close(grads[ours], step[theirs], atol=2e-6)
        if "grad_W_head0" in step:
            close(grads["head.weight"][:2], step["grad_W_head0"], atol=2e-6)
        close(torch.stack([g.norm() for g in grads.values()]).norm(), step["grad_norm_before_clip"])
        params, state = optimizer.update(params, optimizer.clipped(grads), state)
    if "taus_after" in golden:
        close(params["tau"], golden["taus_after"])
    weights = params["recurrent.weight"], torch.tensor(golden["W_hh_after (diagonal not yet re-zeroed)"])
    close(*(w.clone().fill_diagonal_(0) for w in weights), atol=2e-6)
    close(params["head.weight"][:2], golden["W_head0_after"], atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_clipping_is_the_published_codes(case):
    network, x = small(case, reference_compat=True)
    golden, optimizer = SMALL[case]["clip_case_loss_x50"], SGD(0.05, 0.1, nesterov=True, clip=2.0)
    params = {name: p.detach().clone() for name, p in network.named_parameters()}
    _, grads = loss_and_gradients(network, params, x, torch.tensor(LABELS).T)
    grads = {name: 50 * g for name, g in grads.items()}
    close(torch.stack([g.norm() for g in grads.values()]).norm(), golden["grad_norm_before_clip"])
    params, _ = optimizer.update(params, optimizer.clipped(grads), optimizer.init(params))
    close(params["head.weight"][:2], golden["W_head0_after_one_step"], atol=2e-6)


def loss_and_gradients(network, params, x, y):
    grads, loss = torch.func.grad_and_value(lambda params: loss_of(network, params, x, y))(params)
    return loss, grads


def loss_of(network, params, x, y):
    return multi_head_cross_entropy(functional_call(network, params, (x,))[0], y)


def test_the_initial_network_is_the_published_one():
    golden = GOLDEN["init_seed0_500"]
    torch.manual_seed(0)
    network = LeakyNetwork((9, 1), 200, heads=100)
    close(network.tau[:5], golden["taus_first5"])
    close(network.inward.weight[:5, 0], golden["w_in_first5"], rtol=1e-6)
    close(network.inward.bias[:3], golden["b_in_first3"])
    close(network.recurrent.weight[0, :5], golden["w_hh_row0_first5_before_diag_zero"], atol=1e-8)
    close(network.recurrent.bias[:3], golden["b_hh_first3"])
    close(network.head.weight[0, :3], golden["fc0_row0_first3"])
    close(network.head.bias[198:], golden["fc99_bias"])
    assert sum(p.numel() for p in network.parameters()) == golden["n_params"]


@pytest.mark.parametrize(("dynamics", "activation"), FORMS)
def test_gradients_are_those_of_the_formulas(dynamics, activation):
    torch.manual_seed(1)
    network = LeakyNetwork((7, 1), 4, 6, dynamics, activation, heads=2).double()
    x, y = torch.randint(2, (5, 7, 1)).double(), torch.randint(2, (5, 2))

    def by_steps(params):
        return multi_head_cross_entropy(functional_call(Steps(network), at(params), (x,)), y)

    params = {name: p.detach() for name, p in network.named_parameters()}
    loss, grads = loss_and_gradients(network, params, x, y)
    torch.testing.assert_close(loss, by_steps(params))
    for name, g in torch.func.grad(by_steps)(params).items():
        torch.testing.assert_close(grads[name], g, rtol=1e-10, atol=1e-12)
    assert not grads["recurrent.weight"].diagonal().any()


def at(params):
    return {f"network.{name}": p for name, p in params.items()}


class Steps(torch.nn.Module):
    """The network step by step."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.unrolled(x).output


@pytest.mark.parametrize("dynamics", ["default", "mod"])
def test_all_states_have_gradients_too(dynamics):
    torch.manual_seed(1)
    network = LeakyNetwork((6, 1), 2, 5, dynamics, "tanh").double()
    x, weights, h0 = torch.randint(2, (3, 6, 1)).double(), torch.randn(3, 6, 5).double(), torch.rand(3, 5).double()
    network.first_states = lambda batch, like: h0
    own = torch.autograd.grad((network.states(x) * weights).sum(), network.recurrent.weight)[0]
    plain = torch.autograd.grad((network.unrolled(x).states["recurrent"] * weights).sum(), network.recurrent.weight)[0]
    torch.testing.assert_close(own, plain)
    whole, first = network.states(x), network.states(x[:, :2])
    torch.testing.assert_close(network.states(x[:, 2:], first[:, -1]), whole[:, 2:])


@pytest.mark.parametrize("width", [6, 300], ids=["together", "one after another"])
@pytest.mark.parametrize("dynamics", ["default", "mod"])
def test_seeds_of_different_lengths_together_are_each_alone(dynamics, width):
    """With more than 2²¹ multiplications in a step of one network they are taken one after another."""
    lengths, batch = [4, 9, 2, 9], 110
    networks = [LeakyNetwork((9, 1), 4, width, dynamics, ragged=True, heads=2).double() for _ in lengths]
    params = {n: torch.stack([dict(m.named_parameters())[n].detach() for m in networks]) for n, _ in
              networks[0].named_parameters()}  # fmt: skip
    h0 = torch.rand(batch, width).double()
    for network in networks:
        network.first_states = lambda batch, like: h0
    x = torch.randint(2, (4, batch, 9, 1)).double()
    for row, length in zip(x, lengths):
        row[:, length:] = float("nan")
    y = torch.randint(2, (4, batch, 2))

    def loss(params, x, y):
        trace = functional_call(Tracer(networks[0]), at(params), (x,))
        return multi_head_cross_entropy(trace.output, y), (trace.activations["recurrent"], trace.lengths)

    grads, (states, found) = torch.vmap(torch.func.grad(loss, has_aux=True))(params, x, y)
    assert found[:, 0].tolist() == lengths
    for row, length in enumerate(lengths):
        alone = {name: p[row] for name, p in params.items()}
        own = torch.func.grad(loss, has_aux=True)(alone, x[row, :, :length], y[row])
        torch.testing.assert_close(states[row, :, :length], own[1][0])
        assert not states[row, :, length:].any()
        for name, g in own[0].items():
            torch.testing.assert_close(grads[name][row], g)


@pytest.mark.parametrize(("dynamics", "activation"), FORMS)
def test_large_networks_in_single_precision_are_near_the_formulas_in_double(dynamics, activation):
    """Their products are another library's."""
    torch.manual_seed(1)
    network = LeakyNetwork((7, 1), 4, 200, dynamics, activation, ragged=True, heads=2)
    assert apart(torch.empty(1, 60, 200))
    x, y, h0 = torch.randint(2, (60, 7, 1)).float(), torch.randint(2, (60, 2)), torch.rand(60, 400)[:, ::2]
    x[:, 5:] = float("nan")
    network.first_states = lambda batch, like: h0.to(like)
    params = {name: p.detach().clone() for name, p in network.named_parameters()}
    loss, grads = loss_and_gradients(network, params, x, y)

    def by_steps(params):
        return multi_head_cross_entropy(functional_call(Steps(network), at(params), (x.double(),)), y)

    params = {name: p.double() for name, p in params.items()}
    torch.testing.assert_close(loss, by_steps(params).float())
    for name, g in torch.func.grad(by_steps)(params).items():
        torch.testing.assert_close(grads[name], g.float(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dynamics", ["default", "mod"])
def test_compiled_is_eager(dynamics):
    torch.manual_seed(1)
    network = LeakyNetwork((7, 1), 4, 6, dynamics, "tanh", heads=2).double()
    x, y = torch.randint(2, (3, 5, 7, 1)).double(), torch.randint(2, (3, 5, 2))
    params = {name: torch.stack([p.detach()] * 3) * torch.rand(3, *[1] * p.ndim) for name, p in
              network.named_parameters()}  # fmt: skip

    def gradients(params, x, y):
        return torch.vmap(torch.func.grad(lambda p, x, y: loss_of(network, p, x, y)))(params, x, y)

    compiled = torch.compile(gradients, fullgraph=True, backend="aot_eager")(params, x, y)
    for name, g in gradients(params, x, y).items():
        torch.testing.assert_close(compiled[name], g)


def test_only_the_heads_that_are_asked_are_computed():
    network, x = LeakyNetwork((7, 1), 8, 6, heads=4).eval(), torch.randint(2, (5, 7, 1)).float()
    whole = network(x)[0]
    network.ask((1, 2))
    torch.testing.assert_close(network(x)[0], whole[:, 2:6])
    grown = {"head.weight": torch.randn(12, 6), "head.bias": torch.randn(12)}
    network.ask((5, 1))
    assert functional_call(network, grown, (x,))[0].shape == (5, 2)


class Tracer(torch.nn.Module):
    """The trace as a call."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.trace(x)


def spec(heads=2, timed=False):
    return StreamSpec((9, 1 + timed), 2 * heads, "multi_head_cross_entropy", torch.float64, ragged=True, timed=timed,
                      heads=heads)  # fmt: skip


def trained(kind, updates=6, seeds=(0, 1), compiled=False, **settings):
    learner = kind(partial(LeakyNetwork, hidden=5, **settings), SGD(0.1, 0.1, True, clip=2.0), Execution(compiled))
    learner.prepare(spec(timed=settings.get("dynamics") == "continuous"), list(seeds))
    generator = torch.Generator().manual_seed(5)
    x = torch.randint(2, (updates, 3, 4, 9, learner.spec.input_shape[1]), generator=generator).double()
    if learner.spec.timed:
        x[..., 1] = 0.5
    x[1::2, 1, :, 5:] = float("nan")
    y = torch.randint(2, (updates, 3, 4, 2), generator=generator)
    measured = learner.train_chunk(
        learner.population, Chunk(x[:, seeds], y[:, seeds], Position(), Position(0, 0, updates))
    )
    return learner, measured


@pytest.mark.parametrize("dynamics", ["default", "mod", "continuous"])
def test_seeds_trained_together_are_seeds_trained_apart(dynamics):
    together, measured = trained(Backprop, dynamics=dynamics)
    for row in (0, 1):
        alone, own = trained(Backprop, seeds=(row,), dynamics=dynamics)
        torch.testing.assert_close(measured[:, row], own[:, 0])
        for name, p in alone.population.params.items():
            torch.testing.assert_close(together.population.params[name][row], p[0])


def test_initial_states_are_new_in_every_pass_of_training_and_no_other_moves_them():
    learner, _ = trained(Backprop, updates=4)
    buffers = learner.population.state["buffers"]
    assert buffers["noise_clock"].tolist() == [4, 4]
    assert len(set(buffers["noise_key"].tolist())) == 2
    network = learner.network(1)
    x = torch.zeros(4, 9, 1).double()
    h0 = network.first_states(4, network.tau)
    torch.testing.assert_close(h0, 0.1 * uniform(network.noise_key, 4, EVALUATION, (4, 5), torch.float64))
    assert torch.equal(network.trace(x).output, network.trace(x).output)
    assert not network.trace(x).buffers
    network.train()
    assert not torch.equal(network.first_states(4, network.tau), h0)
    assert network.trace(x).buffers["noise_clock"] == 5


def test_taus_that_are_pushed_below_one_stay_and_count_as_one():
    network = LeakyNetwork((4, 1), 2, 3)
    network.load_state_dict({"tau": torch.tensor([0.5, 1.0, 2.0])}, strict=False)
    assert network.effective_tau().tolist() == [1, 1, 2]
    assert network.effective_tau(0.25).tolist() == [2, 4, 8]
    network(torch.ones(2, 4, 1))[0].sum().backward()
    assert network.tau.grad[0] == 0
    assert (network.tau.grad[1:] != 0).all()


def test_continual_backprop_renews_a_unit_with_its_time_constant():
    kind = partial(ContinualBackprop, replacement_rate=0.2, maturity_threshold=2)
    learner, _ = trained(kind, updates=3)
    never, _ = trained(partial(ContinualBackprop, replacement_rate=0.0), updates=3)
    changed = learner.population.params["tau"] - never.population.params["tau"]
    reborn = changed.abs().argmax(1)
    for row, unit in enumerate(reborn.tolist()):
        params = {name: p[row] for name, p in learner.population.params.items()}
        assert 1 <= params["tau"][unit] <= 2
        assert not params["head.weight"][:, unit].any()
        assert not params["recurrent.weight"][:, unit].any()
        assert params["recurrent.weight"][unit].any()


def test_what_a_measurement_sees():
    network = LeakyNetwork((6, 1), 2, 4, "mod", "tanh").double().eval()
    x = torch.randint(2, (3, 6, 1)).double()
    trace = network.trace(x)
    before = torch.cat([network.first_states(3, network.tau)[:, None], trace.activations["recurrent"][:, :-1]], 1)
    u = (
        before @ network.lateral_weight().T
        + network.recurrent.bias
        + x * network.inward.weight[:, 0]
        + network.inward.bias
    )
    torch.testing.assert_close(trace.preactivations["recurrent"], u)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"tau": 0.5}, "tau=0.5"),
        ({"tau_mean": 0.9}, "tau_mean=0.9"),
        ({"hidden": 0}, "hidden=0"),
        ({"initial_state": -1.0}, "initial_state=-1"),
        ({"dynamics": "mode"}, "did you mean 'mod'"),
        ({"activation": "gelu"}, "activation=gelu"),
        ({"dynamics": "continuous"}, "dynamics=continuous"),
        ({"timed": True, "input_shape": (4, 2)}, "dynamics=default"),
        ({"input_shape": (4,)}, "input_shape"),
    ],
)
def test_a_wrong_setting_is_one_line(settings, line):
    with pytest.raises(ConfigError) as error:
        LeakyNetwork(**{"input_shape": (4, 1), "output_size": 2, **settings})
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_time_constants_shared_fixed_and_with_a_mean():
    assert LeakyNetwork((4, 1), 2, 5, shared_tau=True, tau=3.0).tau.tolist() == [3]
    fixed = LeakyNetwork((4, 1), 2, 5, trainable_tau=False)
    assert "tau" not in dict(fixed.named_parameters())
    assert fixed.tau.shape == (5,)
    assert LeakyNetwork((4, 1), 2, 50, tau_mean=4.0).tau.mean().item() == pytest.approx(4.0)
