"""Networks, their initial weights and their nonlinearities."""

import math

import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.networks import MLP, Linear
from lop_lightning.networks.activations import ACTIVATIONS, activation, derivative, gain
from lop_lightning.networks.initialise import INITIALISATIONS, draw


def test_the_network_is_the_formula():
    torch.manual_seed(0)
    network = MLP((2, 3), 4, hidden=[5, 7], activation="tanh").double()
    x = torch.randn(8, 2, 3, dtype=torch.float64)
    w = dict(network.named_parameters())
    z0 = x.reshape(8, 6) @ w["layers.0.weight"].T + w["layers.0.bias"]
    z1 = z0.tanh() @ w["layers.1.weight"].T + w["layers.1.bias"]
    trace = network.trace(x)
    torch.testing.assert_close(trace.preactivations["layers.0"], z0)
    torch.testing.assert_close(trace.preactivations["layers.1"], z1)
    torch.testing.assert_close(trace.activations["layers.1"], z1.tanh())
    torch.testing.assert_close(trace.output, z1.tanh() @ w["layers.2.weight"].T + w["layers.2.bias"])
    output, activations = network(x)
    assert torch.equal(output, trace.output)
    assert list(activations) == ["layers.0", "layers.1"] == [layer.name for layer in network.hidden_layers()]


def test_the_linear_baseline_has_no_hidden_layer():
    network = Linear((3,), 2)
    assert network.hidden_layers() == ()
    assert [tuple(p.shape) for p in network.parameters()] == [(2, 3), (2,)]
    assert network(torch.zeros(1, 3))[1] == {}


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
@pytest.mark.parametrize("name", ["relu", "tanh", "linear"])
def test_initial_weights_have_their_distribution(initialisation, name):
    torch.manual_seed(1)
    network = MLP((50,), 20, hidden=[300, 200], activation=name, initialisation=initialisation)
    g = {"relu": math.sqrt(2), "tanh": 5 / 3, "linear": 1.0}[name]
    for number, (fan_in, fan_out, gain_of) in enumerate([(50, 300, g), (300, 200, g), (200, 20, 1.0)]):
        weight = network.layers[number].weight
        bound = {
            "kaiming": gain_of * math.sqrt(3 / fan_in),
            "default": fan_in**-0.5,
            "xavier": gain_of * math.sqrt(6 / (fan_in + fan_out)),
            "lecun": math.sqrt(3 / fan_in),
            "xavier_normal": math.inf,
            "kaiming_normal": math.inf,
        }[initialisation]
        normal = {"xavier_normal": math.sqrt(2 / (fan_in + fan_out)), "kaiming_normal": gain_of / math.sqrt(fan_in)}
        std = normal.get(initialisation, bound / math.sqrt(3))
        assert weight.std().item() == pytest.approx(std, rel=0.03)
        assert abs(weight.mean()) < 4 * std / weight.numel() ** 0.5
        assert weight.abs().max() <= bound
        assert bound == math.inf or weight.abs().max() > 0.99 * bound
        assert not network.layers[number].bias.any()
        known = network.draws[number]
        assert known.scale == pytest.approx(std if bound == math.inf else bound)


@pytest.mark.parametrize("initialisation", INITIALISATIONS)
def test_reborn_units_draw_from_the_same_distribution(initialisation):
    distribution = draw(initialisation, 100, 60, "relu")
    keys = torch.tensor([3, 4])
    sample = distribution.sample(keys, 7, 1, (100, 60), torch.zeros((), dtype=torch.float64))
    assert sample.shape == (2, 100, 60)
    assert sample.dtype == torch.float64
    std = distribution.scale if distribution.distribution == "normal" else distribution.scale / math.sqrt(3)
    assert sample.std().item() == pytest.approx(std, rel=0.03)
    assert abs(sample.mean()) < 4 * std / sample.numel() ** 0.5
    assert distribution.distribution == "normal" or sample.abs().max() < distribution.scale
    assert not torch.equal(sample[0], sample[1])


@pytest.mark.parametrize(("name", "hidden"), [("small", [10] * 3), ("default_seed7", [100] * 5)])
def test_initial_weights_of_the_gaussian_mixture_system(golden, name, hidden):
    """Its recipe: PyTorch's own initialisation, then Glorot-normal layer by layer, in float32, then float64."""
    file = golden("gaussian_mixture_training")[name]
    torch.manual_seed(file["seed"])
    network = MLP((file["task_args"]["d"],), 1, hidden, "tanh", "xavier_normal").double()
    assert network.layers[0].weight[0].tolist() == file["init_W0_row0"]
    assert network.layers[-1].weight[0, :3].tolist() == file["init_Wout_first3"]
    sums = [layer.weight.sum().item() for layer in network.layers]
    assert sums == pytest.approx(file["init_weight_sums"], abs=1e-12)
    assert sum(p.numel() for p in network.parameters()) == file["params"]


Z = torch.tensor([-3.0, -1.0, -0.3, 0.2, 1.0, 2.5], dtype=torch.float64)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_finite_differences(name):
    f, h = activation(name), 1e-6
    torch.testing.assert_close(derivative(name, Z), (f(Z + h) - f(Z - h)) / (2 * h), rtol=1e-7, atol=1e-9)
    leaf = Z.clone().requires_grad_()
    with torch.no_grad():
        assert not derivative(name, leaf).requires_grad
    assert leaf.grad is None


def test_activations_are_exact():
    phi = 0.5 * (1 + torch.erf(Z / math.sqrt(2)))
    density = torch.exp(-Z.square() / 2) / math.sqrt(2 * math.pi)
    torch.testing.assert_close(activation("gelu")(Z), Z * phi)
    torch.testing.assert_close(derivative("gelu", Z), phi + Z * density)
    torch.testing.assert_close(activation("swish")(Z), Z * Z.sigmoid())
    torch.testing.assert_close(activation("leaky_relu")(Z), torch.where(Z > 0, Z, 0.01 * Z))


def test_gains():
    """Those that PyTorch has are PyTorch's."""
    for name in ("relu", "tanh", "sigmoid", "selu", "linear"):
        assert gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert gain("leaky_relu") == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.01))


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"hidden": 100}, "hidden"), ({"hidden": "100"}, "hidden"), ({"hidden": [10, 0]}, "hidden"),
     ({"activation": "rleu"}, "activation"), ({"initialisation": "he"}, "initialisation")],
)  # fmt: skip
def test_bad_settings_are_named(settings, key):
    with pytest.raises(ConfigError, match=key):
        MLP((4,), 2, **settings)
