"""The layer view: which numbers of which parameter belong to a unit, for every layout, against plain loops."""

import pytest
import torch

from lop_lightning.algos.utility import mean_magnitude
from lop_lightning.networks import MLP, HiddenLayer, UnitSlice

LAYOUTS = {
    "rows": (UnitSlice("p", 0, 4), (4, 6)),
    "columns": (UnitSlice("p", 1, 6), (4, 6)),
    "many_columns": (UnitSlice("p", 1, 6), (17, 6)),
    "vector": (UnitSlice("p", 0, 4), (4,)),
    "filters": (UnitSlice("p", 0, 4), (4, 3, 2, 2)),
    "channels": (UnitSlice("p", 1, 3), (4, 3, 2, 2)),
    "flattened": (UnitSlice("p", 1, 3, inner=4), (5, 12)),
    "gates": (UnitSlice("p", 0, 3, outer=4), (12, 5)),
    "gates_of_blocks": (UnitSlice("p", 0, 3, outer=2, inner=2), (12, 5)),
    "part": (UnitSlice("p", 1, 3, start=4), (5, 9)),
    "part_of_gates": (UnitSlice("p", 0, 2, outer=3, inner=2, start=1), (15, 2)),
}


def owned(place, unit):
    return [place.start + (gate * place.width + unit) * place.inner + k
            for gate in range(place.outer) for k in range(place.inner)]  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_entries_rows_and_magnitudes(name):
    place, shape = LAYOUTS[name]
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entries = place.entries(torch.arange(place.width)[:, None])
    rows = place.rows(tensor)
    assert rows.shape[0] == place.width
    everyone = []
    for unit in range(place.width):
        own = owned(place, unit)
        assert entries[unit].tolist() == own
        everyone += own
        numbers = torch.cat([tensor.select(place.axis, entry).reshape(-1) for entry in own])
        assert rows[unit].sort().values.tolist() == numbers.sort().values.tolist()
        assert place.magnitude(tensor)[unit].item() == pytest.approx(numbers.abs().mean().item(), rel=1e-12)
        magnitude = mean_magnitude([place], {"p": tensor})
        assert magnitude[unit].item() == pytest.approx(numbers.abs().mean().item(), rel=1e-12)
    assert len(set(everyone)) == len(everyone)


def test_entries_of_several_seeds():
    place = UnitSlice("p", 1, 5, outer=2, inner=3, start=2)
    units = torch.tensor([[4, 0], [1, 3]])
    expected = [owned(place, 4) + owned(place, 0), owned(place, 1) + owned(place, 3)]
    assert place.entries(units).tolist() == expected


def test_mean_magnitude_over_several_parameters_weighs_every_number_alike():
    params = {"a": torch.randn(3, 5), "b": torch.randn(2, 6)}
    places = [UnitSlice("a", 0, 3), UnitSlice("b", 1, 3, inner=2)]
    for unit in range(3):
        numbers = torch.cat([params["a"][unit], params["b"][:, 2 * unit : 2 * unit + 2].reshape(-1)])
        assert mean_magnitude(places, params)[unit].item() == pytest.approx(numbers.abs().mean().item(), rel=1e-5)


def test_the_view_of_a_perceptron_names_all_weights_of_a_unit():
    """Scaling what enters a unit by c and what leaves it by 1/c changes nothing, for ReLU: so the view is right."""
    torch.manual_seed(0)
    network = MLP((4,), 2, hidden=[5, 3]).double()
    x = torch.randn(7, 4, dtype=torch.float64)
    before = network(x)[0]
    assert [layer.width for layer in network.hidden_layers()] == [5, 3]
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1
        before = network(x)[0]
        params = dict(network.named_parameters())
        for layer in network.hidden_layers():
            entering = [*(entry.units for entry in layer.fan_in), *layer.bias]
            for place, factor in [*((p, 3.0) for p in entering), *((e.units, 1 / 3) for e in layer.fan_out)]:
                params[place.parameter].movedim(place.axis, 0)[place.entries(torch.tensor([1]))] *= factor
            assert layer.fan_out[0].bias in params
    torch.testing.assert_close(network(x)[0], before)
    assert len({place.parameter for layer in network.hidden_layers() for place in layer.bias}) == 2


def test_samples_fold_space_into_samples():
    maps = torch.randn(2, 3, 4, 5)
    layer = HiddenLayer("conv", 3, "relu", (), (), unit_axis=1)
    samples = layer.samples(maps)
    assert samples.shape == (40, 3)
    assert samples[:, 1].tolist() == maps[:, 1].reshape(-1).tolist()
    vectors = torch.randn(6, 3)
    assert HiddenLayer("fc", 3, "relu", (), ()).samples(vectors) is not None
    assert torch.equal(HiddenLayer("fc", 3, "relu", (), ()).samples(vectors), vectors)
