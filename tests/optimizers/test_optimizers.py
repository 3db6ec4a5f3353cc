"""Functional optimisers against PyTorch's own, against Muon's published numbers, and after units were reborn."""

from functools import partial

import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.networks import UnitSlice
from lop_lightning.optimizers import SGD, Adam, AdamW, Muon
from lop_lightning.optimizers.base import debias
from lop_lightning.optimizers.muon import orthogonalise
from lop_lightning.trees import tree_map

close = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-13)
SHAPES = {"weight": (3, 4), "bias": (3,), "filter": (2, 3, 2, 2)}


def gradients(updates=20, shapes=SHAPES, dtype=torch.float64):
    rng = torch.Generator().manual_seed(1)
    return [{name: torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype) for name, shape in shapes.items()}
            for _ in range(updates)]  # fmt: skip


def run(optimizer, params, grads):
    state = optimizer.init(params)
    for g in grads:
        params, state = optimizer.update(params, g, state)
    return params, state


def run_torch(make, params, grads):
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    optimizer = make(leaves.values())
    for g in grads:
        for name, p in leaves.items():
            p.grad = g[name].clone()
        optimizer.step()
    return {name: p.detach() for name, p in leaves.items()}


PAIRS = {
    "sgd": (SGD(0.1), partial(torch.optim.SGD, lr=0.1)),
    "sgd_decay": (SGD(0.1, weight_decay=0.2), partial(torch.optim.SGD, lr=0.1, weight_decay=0.2)),
    "momentum": (SGD(0.1, 0.9, weight_decay=0.1), partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1)),
    "nesterov": (SGD(0.1, 0.8, nesterov=True), partial(torch.optim.SGD, lr=0.1, momentum=0.8, nesterov=True)),
    "adam": (Adam(0.02), partial(torch.optim.Adam, lr=0.02)),
    "adam_decay": (Adam(0.02, (0.8, 0.9), 1e-4, 0.3),
                   partial(torch.optim.Adam, lr=0.02, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.3)),
    "adam_rmsprop": (Adam(0.02, (0.0, 0.99)), partial(torch.optim.Adam, lr=0.02, betas=(0.0, 0.99))),
    "adamw": (AdamW(0.02), partial(torch.optim.AdamW, lr=0.02)),
    "adamw_decay": (AdamW(0.02, (0.8, 0.9), 1e-4, 0.3),
                    partial(torch.optim.AdamW, lr=0.02, betas=(0.8, 0.9), eps=1e-4, weight_decay=0.3)),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_twenty_steps_of_torch(name):
    ours, theirs = PAIRS[name]
    params, *grads = gradients(21)
    stepped, _ = run(ours, params, grads)
    for leaf, p in run_torch(theirs, params, grads).items():
        close(stepped[leaf], p)


@pytest.mark.parametrize("steps", [1, 3])
def test_first_steps_of_adam_in_float32(steps):
    """Where 1 - 0.999ᵗ would lose its digits if it were computed as it stands."""
    params, *grads = gradients(1 + steps, dtype=torch.float32)
    params = tree_map(torch.zeros_like, params)
    stepped, _ = run(Adam(0.02), params, grads)
    for leaf, p in run_torch(partial(torch.optim.Adam, lr=0.02), params, grads).items():
        torch.testing.assert_close(stepped[leaf], p, rtol=1e-6, atol=0)


def test_updates_are_pure():
    params, *grads = gradients(3)
    for optimizer in (SGD(0.1, 0.9), Adam(), AdamW(), Muon()):
        state = optimizer.init(params)
        kept = tree_map(torch.clone, {"params": params, "state": state, "grads": grads[0]})
        optimizer.update(params, grads[0], state)
        for a, b in ((kept["params"], params), (kept["state"], state), (kept["grads"], grads[0])):
            tree_map(lambda x, y: close(x, y, rtol=0, atol=0), a, b)


def pattern(shape, a, b, m, scale, off):
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return ((((a * k + b * (k // 3) + off) % m) - m // 2) / scale).reshape(shape)


@pytest.mark.parametrize("case", [0, 1])
def test_muon_is_the_reference(golden, case):
    file = golden("muon")["muon"][case]
    params = {"0": pattern((3, 4), 7, 5, 17, 16, 1), "1": pattern((4, 3), 7, 5, 17, 16, 4),
              "2": pattern((1, 4), 7, 5, 17, 16, 2), "3": pattern((3,), 3, 1, 5, 32, 1)}  # fmt: skip
    grads = [{name: pattern(p.shape, 5, 3, 13, 8, step + int(name)) for name, p in params.items()}
             for step in range(file["steps"])]  # fmt: skip
    muon = Muon(file["lr"], file["mu"], file["k"], file["rms"], weight_decay=file["weight_decay"])
    stepped, _ = run(muon, params, grads)
    for name, p in stepped.items():
        close(p, torch.tensor(file["params_after"][int(name)], dtype=torch.float64).reshape(p.shape), rtol=1e-9)


def test_newton_schulz_is_the_reference(golden):
    file = golden("muon")["newton_schulz_5"]
    matrix, expected = (torch.tensor(file[k], dtype=torch.float64) for k in ("input", "output"))
    result = orthogonalise(matrix, 5)
    close(result, expected, rtol=1e-10)
    close(torch.linalg.svdvals(result), torch.tensor(file["sv"], dtype=torch.float64), rtol=1e-10)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (1, 9), (9, 1)])
def test_newton_schulz_makes_singular_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = orthogonalise(matrix, 5)
    close(result, orthogonalise(matrix.T, 5).T, rtol=1e-9)
    values = torch.linalg.svdvals(result)
    assert (values > 0.6).all()
    assert (values < 1.3).all()
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert ((u.T @ result @ v.T).diagonal() > 0.6).all()  # the same singular vectors


def test_orthogonalising_nothing_gives_nothing():
    assert not orthogonalise(torch.zeros(3, 4), 5).any()


class ElementwiseAdam:
    """Adam with an own step count for every element, in the plainest form."""

    def __init__(self, params, lr=0.001, beta1=0.9, beta2=0.999, eps=1e-8):
        self.p = {name: p.clone() for name, p in params.items()}
        self.m, self.v, self.t = ({name: torch.zeros_like(p) for name, p in params.items()} for _ in range(3))
        self.lr, self.beta1, self.beta2, self.eps = lr, beta1, beta2, eps

    def step(self, grads):
        for name, g in grads.items():
            self.t[name] += 1
            self.m[name] = self.beta1 * self.m[name] + (1 - self.beta1) * g
            self.v[name] = self.beta2 * self.v[name] + (1 - self.beta2) * g**2
            m, v = self.m[name] / (1 - self.beta1 ** self.t[name]), self.v[name] / (1 - self.beta2 ** self.t[name])
            self.p[name] -= self.lr * m / (v.sqrt() + self.eps)

    def forget(self, name, where):
        for table in (self.m, self.v, self.t):
            table[name][where] = 0


@pytest.mark.parametrize("kind", [Adam, partial(AdamW, weight_decay=0.0)], ids=["adam", "adamw"])
def test_reborn_units_begin_anew_and_the_others_go_on(kind):
    """Rows, columns, both, twice: the count of a row and of a column say all that one for each element would."""
    params, *grads = gradients(30)
    optimizer, reference = kind(), ElementwiseAdam(params)
    state = optimizer.init(params)
    events = {
        5: [("weight", 0, [1])],
        9: [("weight", 1, [0, 3]), ("bias", 0, [2])],
        10: [("weight", 0, [1, 2]), ("filter", 1, [2])],
        22: [("filter", 0, [0]), ("weight", 1, [3])],
    }
    for number, g in enumerate(grads):
        params, state = optimizer.update(params, g, state)
        reference.step(g)
        for name, axis, units in events.get(number, []):
            stacked = tree_map(lambda t: t[None].clone(), state)
            place = UnitSlice(name, axis, SHAPES[name][axis])
            optimizer.forget(stacked, place, torch.tensor([0]), torch.tensor([units]))
            state = tree_map(lambda t: t[0], stacked)
            reference.forget(name, (slice(None),) * axis + (units,))
        for name, p in params.items():
            close(p, reference.p[name], rtol=1e-11)
            counts = reference.t[name]
            if number not in events:
                close(debias(0.999, state, name, p.ndim).expand_as(p), 1 - 0.999**counts, rtol=1e-9)


LAYOUTS = [
    UnitSlice("p", 0, 3), UnitSlice("p", 1, 3, inner=4), UnitSlice("p", 0, 3, outer=2), UnitSlice("p", 1, 3, start=5),
    UnitSlice("p", 0, 3, outer=2, inner=2, start=1), UnitSlice("p", 1, 12),
]  # fmt: skip


def owned(place, length, unit):
    """By the definition: which entries along the axis belong to the unit."""
    return [place.start + (gate * place.width + unit) * place.inner + k
            for gate in range(place.outer) for k in range(place.inner)
            if place.start + (gate * place.width + unit) * place.inner + k < length]  # fmt: skip


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), Adam(), Muon()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("place", LAYOUTS, ids=str)
def test_forgetting_units_in_every_layout(place, optimizer):
    """Two of three seeds, two units each: their entries are cleared and no others."""
    shape = [14, 14]
    shape[place.axis] = max(place.start + place.outer * place.width * place.inner, 3)
    params, *grads = gradients(4, {"p": tuple(shape), "q": (3,)})
    _, one = run(optimizer, params, grads)
    state = tree_map(lambda t: torch.stack([t, 2 * t, 3 * t]), one)
    before = tree_map(torch.clone, state)
    units = {2: [0, 2], 0: [1, 2]}
    optimizer.forget(state, place, torch.tensor(list(units)), torch.tensor(list(units.values())))
    for slot, tensors in state.items():
        for name, tensor in tensors.items():
            expected = before[slot][name].clone()
            for seed, chosen in units.items():
                for unit in chosen:
                    for entry in owned(place, shape[place.axis], unit) if name == "p" else []:
                        if slot == f"steps_{place.axis}":
                            expected[seed, entry] = 0
                        elif not slot.startswith("steps_"):
                            expected[seed].movedim(place.axis, 0)[entry] = 0
            assert torch.equal(tensor, expected), (slot, name)
    assert not torch.equal(state["momentum" if "momentum" in state else "first"]["p"],
                           before["momentum" if "momentum" in state else "first"]["p"])  # fmt: skip


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: SGD(-1.0), "lr"),
        (lambda: SGD(0.1, 1.0), "momentum"),
        (lambda: SGD(0.1, nesterov=True), "nesterov"),
        (lambda: Adam(betas=(0.9,)), "betas"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: Adam(betas="ab"), "betas"),
        (lambda: AdamW(eps=-1), "eps"),
        (lambda: Muon(iterations=0), "iterations"),
        (lambda: Muon(eps=-1), "eps"),
    ],
)
def test_bad_settings_are_named(make, key):
    with pytest.raises(ConfigError, match=key):
        make()
