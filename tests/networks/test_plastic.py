"""Plastic layers: the formulas by hand, the quick way and the plain one, the identities between kinds of layers."""

import pytest
import torch
from torch.func import functional_call, grad, jacrev

from lop_lightning.errors import ConfigError
from lop_lightning.networks import plastic_steps
from lop_lightning.networks.plastic import PlasticLayer, memoryless
from lop_lightning.networks.plastic_loop import Synapses, UpdateRule, recur
from lop_lightning.networks.plasticity import Draws, Plasticity, constant, rate_shape, sizes, xavier

FUNCTIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "linear": lambda a: a}
SHAPES = ("matrix", "post", "pre", "scalar")
H, F, T, B = 4, 3, 9, 2


def double(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def signs(*shape, seed=1):
    return double(*shape, seed=seed).sign()


def by_hand(x, weight, bias, eta, decay, kind, f):
    """One sequence ``[T, F]``, number by number: h ``[T][H]`` and P ``[T][H][F]`` as each frame meets it."""
    units, inputs = weight.shape
    p, hs, ps = [[0.0] * inputs for _ in range(units)], [], []
    for frame in x.tolist():
        ps.append([list(row) for row in p])
        h = []
        for i in range(units):
            a = bias[i].item()
            for j in range(inputs):
                w = weight[i, j].item()
                a += (w * (1 + p[i][j]) if kind == "M" else w + p[i][j]) * frame[j]
            h.append(FUNCTIONS[f](torch.tensor(a, dtype=torch.float64)).item())
        for i in range(units):
            for j in range(inputs):
                p[i][j] = decay[i, j].item() * p[i][j] + eta[i, j].item() * h[i] * frame[j]
        hs.append(h)
    return torch.tensor(hs, dtype=torch.float64), torch.tensor(ps, dtype=torch.float64)


def layer(kind="M", eta_shape="matrix", activation="tanh", units=H, inputs=F, seed=0, **settings):
    torch.manual_seed(seed)
    draws = Draws(xavier(units, inputs), xavier(units, 1), xavier(units, inputs), constant(settings.pop("raw", 1.0)))
    return PlasticLayer(units=units, inputs=inputs, activation=activation, draws=draws,
                        plasticity=Plasticity(kind, eta_shape, **settings)).double()  # fmt: skip


def test_two_frames_by_hand():
    """F = 2, one tanh unit: W = (0.5, -1), b = 0.25, η = (-0.5, 0.2), λ = 0.5, x = (1, -1), (1, 1), (1, -1).

    Additive: a₀ = 1.75, h₀ = 0.9413755385; P₁ = (-0.4706877692, -0.1882751077);
    a₁ = (0.0293122308 - 1.1882751077) + 0.25 = -0.9089628769, h₁ = -0.7206340955;
    P₂ = P₁/2 + (-0.5, 0.2)·h₁ = (0.1249731631, -0.2382643730); a₂ = 0.6249731631 + 1.2382643730 + 0.25 = 2.1132375361.
    Multiplicative: a₁ = 0.5·0.5293122308 - 0.8117248923 + 0.25 = -0.2970687769.
    """
    x = torch.tensor([[1.0, -1.0], [1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)[:, None]
    tensors = {"weight": [[0.5, -1.0]], "bias": [0.25], "eta": [[-0.5, 0.2]], "decay": [0.0]}
    for kind, sums in (("A", [1.75, -0.9089628769, 2.1132375361]), ("M", [1.75, -0.2970687769])):
        own = layer(kind, units=1, inputs=2)
        own.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in tensors.items()})
        for h, a in (own(x, None), (own.recur(x).h, own.recur(x).a)):
            expected = torch.tensor(sums, dtype=torch.float64)
            torch.testing.assert_close(a[: len(sums), 0, 0], expected, rtol=0, atol=2e-9)
            torch.testing.assert_close(h[: len(sums), 0, 0], expected.tanh(), rtol=0, atol=2e-9)
    p = own.recur(x, kept=(1,)).p
    for found, expected in ((p, [-0.4706877692, -0.1882751077]), (own.effective(p), [0.2646561154, -0.8117248923])):
        torch.testing.assert_close(found[0, 0, 0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("eta_shape", SHAPES)
@pytest.mark.parametrize("kind", ["M", "A"])
def test_both_ways_are_the_formulas(kind, eta_shape, activation):
    own, x = layer(kind, eta_shape, activation), signs(T, B, F)
    eta, decay = own.eta.detach().expand(H, F), torch.sigmoid(own.decay.detach()).expand(H, F)
    plain = own.recur(x, kept=range(T))
    h, a = own(x, None)
    for movie in range(B):
        expected, p = by_hand(x[:, movie], own.weight, own.bias, eta, decay, kind, activation)
        torch.testing.assert_close(plain.h[:, movie], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(h[:, movie], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(plain.p[:, movie], p, rtol=0, atol=1e-12)
    torch.testing.assert_close(FUNCTIONS[activation](a), h)


def gradients(own, x, weights, way):
    """Of Σ weights·h by all parameters and by x."""
    params = {name: p.detach() for name, p in own.named_parameters()}

    class Way(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own = own

        def forward(self, x):
            return self.own(x, None)[0] if way == "fast" else self.own.recur(x).h

    def loss(params, x):
        return (functional_call(Way(), {f"own.{n}": p for n, p in params.items()}, (x,)) * weights).sum()

    by_params, by_x = grad(loss, (0, 1))(params, x)
    return {**by_params, "x": by_x}


@pytest.mark.parametrize("truncation", [0, 4, 3])
@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("eta_shape", SHAPES)
@pytest.mark.parametrize("kind", ["M", "A"])
def test_gradients_of_both_ways(kind, eta_shape, activation, truncation):
    own = layer(kind, eta_shape, activation, truncation=truncation)
    x, weights = double(T, B, F, seed=2), double(T, B, H, seed=3)
    fast, plain = (gradients(own, x, weights, way) for way in ("fast", "plain"))
    assert set(fast) == {"weight", "bias", "eta", "decay", "x"}
    for name, g in plain.items():
        torch.testing.assert_close(fast[name], g, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", ["memoryless", "fast", "plain"])
def test_truncated_gradients_end_at_the_last_multiple(form):
    """∂h(t)/∂a0(s) is that without truncation for s from the last multiple of 4 on, and nothing before it."""
    x, a0, eta = signs(T, 1, F), double(T, 1, H), double(H, F, seed=5, scale=0.3)
    synapses = Synapses(eta, torch.full((1,), 0.8).double())

    def run(a0, truncation):
        if form == "memoryless":
            return memoryless(x, a0, eta, "tanh", truncation)[0]
        if form == "plain":
            return recur(x, a0, synapses, "tanh", truncation=truncation).h
        given = a0[None], x[None], eta[None], torch.full((1, H), 0.8).double().log(), torch.tensor([T])
        return plastic_steps.run(*given, "tanh", truncation)[0][0]

    whole, cut = (jacrev(lambda a0, k=k: run(a0, k)[:, 0])(a0)[:, :, :, 0] for k in (0, 4))  # [t, H, s, H]
    assert whole.abs().sum((1, 3))[T - 1, 7 if form == "memoryless" else 0] > 0
    for t in range(T):
        begin = t - t % 4
        torch.testing.assert_close(cut[t, :, begin:], whole[t, :, begin:])
        assert not cut[t, :, :begin].any()


# ---- identities


@pytest.mark.parametrize("eta_shape", SHAPES)
def test_a_multiplicative_layer_is_an_additive_one_with_other_rates(eta_shape):
    own, x = layer("M", eta_shape), signs(30, B, F)
    twin = layer("A", "matrix")
    twin.load_state_dict({**own.state_dict(), "eta": own.weight.detach() * own.eta.detach()})
    shown, other = own.recur(x, kept=range(30)), twin.recur(x, kept=range(30))
    torch.testing.assert_close(shown.h, other.h, rtol=0, atol=1e-13)
    torch.testing.assert_close(own.weight * shown.p, other.p, rtol=0, atol=1e-13)
    torch.testing.assert_close(own.effective(shown.p), twin.effective(other.p), rtol=0, atol=1e-13)


@pytest.mark.parametrize("truncation", [0, 4])
@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("kind", ["M", "A"])
def test_a_layer_without_memory_needs_no_matrix(kind, activation, truncation):
    own = layer(kind, activation=activation, decay="none", truncation=truncation)
    x, weights = double(T, B, F, seed=2), double(T, B, H, seed=3)
    expected = by_hand(x[:, 1], own.weight, own.bias, own.eta, torch.zeros(H, F), kind, activation)[0]
    torch.testing.assert_close(own(x, None)[0][:, 1], expected, rtol=0, atol=1e-12)
    fast, plain = (gradients(own, x, weights, way) for way in ("fast", "plain"))
    assert set(fast) == {"weight", "bias", "eta", "x"}
    for name, g in plain.items():
        torch.testing.assert_close(fast[name], g, rtol=1e-9, atol=1e-9)


def test_its_sums_are_left_as_they_were():
    x, a0, eta = signs(T, 1, F), double(T, 1, H), double(H, F)
    before = a0.clone()
    memoryless(x, a0, eta, "tanh")
    assert torch.equal(a0, before)


# ---- what plasticity does


@pytest.mark.parametrize("kind", ["M", "A"])
def test_a_repeated_input_is_answered_less_if_eta_is_negative_and_more_if_it_is_positive(kind):
    x = signs(1, 1, F).expand(2, 1, F)
    for eta, side in ((-0.3, -1), (0.3, 1)):
        own = layer(kind, "scalar")
        own.load_state_dict({**own.state_dict(), "eta": torch.tensor([eta]).double()})
        h = own(x, None)[0][:, 0].abs()
        if kind == "A":
            assert ((h[1] - h[0]) * side > 0).all()
        # Of a multiplicative unit, W ∘ P x = η h Σ_j W_ij: it depends on the sign of the sum.
        grows = (own.weight.sum(1) > 0) == (side > 0)
        if kind == "M":
            assert torch.equal(h[1] > h[0], grows)


@pytest.mark.parametrize("kind", ["M", "A"])
def test_plastic_weights_are_bounded_by_eta_and_lambda(kind):
    own, x = layer(kind), signs(200, B, F)
    p = own.recur(x, kept=range(200)).p
    bound = own.eta.abs() / (1 - own.decay.sigmoid())
    assert (p.abs() <= bound).all()
    assert (p.abs().amax((0, 1)) > 0.3 * bound).any()


def test_sequences_of_a_batch_have_plastic_weights_of_their_own():
    own, x = layer(), signs(T, B, F)
    other = torch.cat([x[:, :1], -x[:, 1:]], 1)
    h, changed = own(x, None)[0], own(other, None)[0]
    torch.testing.assert_close(h[:, 0], changed[:, 0], rtol=0, atol=1e-14)
    assert not torch.allclose(h[:, 1], changed[:, 1])


@pytest.mark.parametrize("settings", [{}, {"decay": "none"}, {"scan": "reference"}, None])
def test_after_the_end_of_a_sequence_there_is_nothing(settings):
    own, x = layer(**settings or {}), signs(T, B, F)
    if settings is None:
        own.plasticity = None
    h, a = own(x, torch.tensor(T - 4))
    torch.testing.assert_close(h[:-4], own(x[:-4], None)[0], rtol=0, atol=1e-14)
    assert (h[-4:] == 0).all()
    assert a.isfinite().all()


# ---- variants


@pytest.mark.parametrize("bound", ["none", "tanh"])
@pytest.mark.parametrize("product", ["both", "pre", "post"])
@pytest.mark.parametrize("update", ["plain", "normalised", "oja"])
@pytest.mark.parametrize("shape", ["post", "pre", "matrix"])
def test_variants_of_the_update(update, product, bound, shape):
    """Two steps of P from a P(0) that is not zero, as the formulas have them."""
    x, a0, start = double(3, B, F), double(3, B, H, seed=4), double(H, F, seed=5, scale=0.5)
    size = sizes(shape, H, F)
    eta, decay = double(*size, seed=6), torch.rand(size, generator=torch.Generator().manual_seed(7)).double()
    weight = double(H, F, seed=8)
    rule = UpdateRule(update, product, bound)
    shown = recur(x, a0, Synapses(eta, decay, weight, start), "tanh", rule, kept=(0, 1, 2))
    p = start.expand(B, H, F)
    for t in range(3):
        torch.testing.assert_close(shown.p[t], p, rtol=0, atol=1e-12)
        h = (a0[t] + torch.einsum("hf,bhf,bf->bh", weight, p, x[t])).tanh()
        torch.testing.assert_close(shown.h[t], h, rtol=0, atol=1e-12)
        c = {"both": torch.einsum("bh,bf->bhf", h, x[t]), "pre": x[t, :, None].expand(B, H, F),
             "post": h[:, :, None].expand(B, H, F)}[product]  # fmt: skip
        new = decay * p + eta * c
        if update == "oja":
            new = new + eta * h[:, :, None] ** 2 * p
        if update == "normalised":
            new = new / new.norm(dim=2, keepdim=True)
        p = new.tanh() if bound == "tanh" else new


def test_normalised_rows_that_are_zero_stay_so_and_have_finite_gradients():
    x = torch.ones(4, 1, F, dtype=torch.float64)
    synapses = Synapses(torch.ones(1).double(), torch.full((1,), 0.5).double())

    def run(a0):
        return recur(x, a0, synapses, "relu", UpdateRule("normalised")).h.sum()

    a0 = torch.tensor([-1.0, 1.0]).double().expand(4, 1, 2).clone()
    by_a0 = grad(run)(a0)
    assert by_a0.isfinite().all()
    assert not by_a0[:, 0, 0].any()
    # The other unit's row has norm 1 from the first frame on: it answers 1 + √3.
    torch.testing.assert_close(recur(x, a0, synapses, "relu", UpdateRule("normalised")).h[:, 0, 1],
                               torch.tensor([1.0] + 3 * [1 + 3**0.5]).double())  # fmt: skip


@pytest.mark.parametrize(
    ("form", "raw", "decay"),
    [("sigmoid", 1.0, 0.7310585786), ("clamp", 0.9, 0.9), ("exponential", 20.0, 0.95), ("clamp", 0.0, 0.001),
     ("exponential", 1.0, 0.001), ("clamp", 1.0, 1.0)],
)  # fmt: skip
def test_forms_of_lambda(form, raw, decay):
    own, x = layer("A", decay=form, raw=raw), double(T, B, F)
    torch.testing.assert_close(own.decays(), torch.tensor([decay]).double(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(own.log_decays().exp(), own.decays().expand(H))
    torch.testing.assert_close(own(x, None)[0], own.recur(x).h, rtol=0, atol=1e-12)
    plain, fast = (gradients(own, x, double(T, B, H), way)["decay"] for way in ("plain", "fast"))
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-9)


def test_lambda_goes_back_into_its_range():
    raw = torch.tensor([-0.5, 0.2, 1.5])
    assert layer(decay="clamp", decay_max=0.75).projected(raw).tolist() == pytest.approx([0.001, 0.2, 0.75])
    assert layer(decay="exponential").projected(raw).tolist() == pytest.approx([1 / 0.999, 1 / 0.999, 1.5])
    assert torch.equal(layer().projected(raw), raw)


@pytest.mark.parametrize("way", ["fast", "plain"])
@pytest.mark.parametrize(("form", "raw"), [("clamp", 0.001), ("clamp", 1.0), ("exponential", 1 / 0.999)])
def test_a_lambda_at_its_edge_can_still_move(form, raw, way):
    """Its gradient is that of λ a little inside."""
    own, x, weights = layer("A", decay=form), double(T, B, F), double(T, B, H)
    found = []
    for value in (raw, raw + (-1e-7 if raw == 1.0 else 1e-7)):
        own.load_state_dict({**own.state_dict(), "decay": torch.tensor([value], dtype=torch.float64)})
        found.append(gradients(own, x, weights, way)["decay"])
    assert found[0] != 0
    torch.testing.assert_close(*found, rtol=1e-4, atol=0)


@pytest.mark.parametrize("decay_shape", SHAPES)
def test_every_shape_of_lambda(decay_shape):
    own, x = layer("M", decay_shape=decay_shape), signs(T, B, F)
    with torch.no_grad():
        own.decay.add_(double(*own.decay.shape))
    expected = by_hand(x[:, 1], own.weight, own.bias, own.eta, own.decays().expand(H, F), "M", "tanh")[0]
    torch.testing.assert_close(own(x, None)[0][:, 1], expected, rtol=0, atol=1e-12)
    assert own.decay.shape == sizes(decay_shape, H, F)


def test_rates_of_one_sign():
    assert (layer(eta_sign="anti").rates() < 0).all()
    hebbian = layer(eta_sign="hebbian")
    torch.testing.assert_close(hebbian.rates(), hebbian.eta.exp())


def test_the_plain_way_is_taken_where_it_is_asked_for_or_must_be():
    assert Plasticity().is_fast
    assert Plasticity(decay_shape="post").is_fast
    for settings in ({"scan": "reference"}, {"decay_shape": "pre"}, {"decay_shape": "matrix"}, {"start": "trained"},
                     {"rule": UpdateRule("oja")}, {"rule": UpdateRule(product="pre")}):  # fmt: skip
        assert not Plasticity(**settings).is_fast


def test_frames_that_are_not_written_only_decay():
    own, x = layer("A"), signs(4, 1, F)
    writes = torch.tensor([1.0, 0.0, 1.0, 1.0]).double()[:, None]
    p = own.recur(x, writes, kept=range(4)).p[:, 0]
    torch.testing.assert_close(p[2], own.decays() * p[1])
    assert not torch.allclose(p[3], own.decays() * p[2])
    torch.testing.assert_close(own(x, None, writes)[0], own.recur(x, writes).h)


def test_rates_as_the_command_line_has_them():
    names = {1: "matrix", 0.5: "post", 0: "scalar", "pre": "pre", "matrix": "matrix"}
    assert all(rate_shape("hetero_rates", rate) == shape for rate, shape in names.items())
    for wrong in (2, True, "row", None, 0.25, [1]):
        with pytest.raises(ConfigError, match=r"hetero_rates=.*is not legal"):
            rate_shape("hetero_rates", wrong)


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"scan": "quick"}, "scan=quick"), ({"start": "one"}, "start=one"), ({"truncation": -1}, "truncation=-1")],
)
def test_a_wrong_setting_is_one_line(settings, line):
    with pytest.raises(ConfigError, match=line):
        Plasticity(**settings)
