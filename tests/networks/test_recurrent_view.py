"""The layer view of recurrent networks: who owns which number, in every layer and direction."""

import pytest
import torch

from lop_lightning.networks import GRU, LSTM, RNN

GATES = {LSTM: 4, GRU: 3, RNN: 1}
HIDDEN, FEATURES, OUTPUTS = 4, 3, 2
SETTINGS = [
    {"layers": layers, "bidirectional": both, "readout": readout}
    for layers in (1, 2, 3) for both in (True, False) for readout in ("final", "last_position")
]  # fmt: skip


def made(kind, **settings):
    torch.manual_seed(0)
    return kind((5, FEATURES), OUTPUTS, **{"hidden": HIDDEN, "layers": 2, **settings}).double()


def owned(place, unit):
    """(parameter, axis, index) of all that belongs to a unit, by the meaning of ``start`` and ``outer``."""
    assert place.inner == 1
    indices = [place.start + gate * place.width + unit for gate in range(place.outer)]
    assert place.entries(torch.tensor([unit])).tolist() == indices
    return [(place.parameter, place.axis, index) for index in indices]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("kind", GATES)
def test_every_row_and_column_belongs_to_one_unit(kind, settings):
    network = made(kind, **settings)
    params = dict(network.named_parameters())
    layers = network.hidden_layers()
    entering = [key for layer in layers for unit in range(layer.width)
                for place in (*(e.units for e in layer.fan_in), *layer.bias) for key in owned(place, unit)]  # fmt: skip
    leaving = [key for layer in layers for unit in range(layer.width)
               for entry in layer.fan_out for key in owned(entry.units, unit)]  # fmt: skip
    cells = [name for name in params if name.startswith("layers")]
    assert sorted(entering) == sorted((name, 0, row) for name in cells for row in range(GATES[kind] * HIDDEN))
    read = [name for name in params if name.endswith("weight_hh") or name == "head.weight"
            or (name.endswith("weight_ih") and not name.startswith("layers.0"))]  # fmt: skip
    assert sorted(leaving) == sorted((name, 1, column) for name in read for column in range(params[name].shape[1]))
    for layer in layers:
        features = FEATURES if layer.name.startswith("layers.0") else HIDDEN * len(network.directions)
        count = sum(params[e.units.parameter][0].numel() * e.units.outer for e in layer.fan_in)
        assert count == GATES[kind] * (features + HIDDEN)
        assert [e.draw.scale for e in layer.fan_in] == [layer.bias_draw.scale] * 2 == [HIDDEN**-0.5] * 2
        assert {e.draw.distribution for e in layer.fan_in} == {layer.bias_draw.distribution} == {"uniform"}
        assert (layer.width, layer.activation, layer.unit_axis, layer.is_sequence) == (HIDDEN, "tanh", -1, True)
        assert not layer.norm


@pytest.mark.parametrize("kind", GATES)
def test_who_reads_which_columns(kind):
    layers = {layer.name: layer for layer in made(kind).hidden_layers()}
    assert list(layers) == ["layers.0.forwards", "layers.0.backwards", "layers.1.forwards", "layers.1.backwards"]
    for name, layer in layers.items():
        start = HIDDEN * name.endswith("backwards")
        *onwards, recurrent = [(e.units.parameter, e.units.start, e.bias, e.reads) for e in layer.fan_out]
        assert recurrent == (f"{name}.weight_hh", 0, f"{name}.bias_hh", "earlier")
        if name.startswith("layers.0"):
            assert onwards == [(f"layers.1.{d}.weight_ih", start, f"layers.1.{d}.bias_ih", "every")
                               for d in ("forwards", "backwards")]  # fmt: skip
        else:
            assert onwards == [("head.weight", start, "head.bias", "final")]
        assert [entry.own is not None for entry in layer.fan_out] == [False] * len(onwards) + [True]


def test_what_the_readout_reads():
    def readings(**settings):
        return {layer.name: layer.readings for layer in made(GRU, **settings).hidden_layers()}

    final, first, hidden = ("final", "earlier"), ("first", "earlier"), ("every", "earlier")
    assert readings(layers=1) == {"layers.0.forwards": final, "layers.0.backwards": final}
    assert readings(layers=1, readout="last_position") == {"layers.0.forwards": final, "layers.0.backwards": first}
    assert readings(layers=1, readout="last_position", bidirectional=False) == {"layers.0.forwards": final}
    assert list(readings(readout="last_position").values()) == [hidden, hidden, final, first]
    on_the_way = {"bidirectional": False, "read_every": 5}
    for readout in ("final", "last_position"):
        assert list(readings(**on_the_way, readout=readout).values()) == [hidden, hidden]


def of(params, place, unit):
    """What belongs to a unit along one axis of one parameter, the axis first: to write to, index by index."""
    tensor = params[place.parameter].movedim(place.axis, 0)
    return [tensor[index : index + 1] for index in place.entries(torch.tensor([unit])).tolist()]


@pytest.mark.parametrize("settings", [SETTINGS[n] for n in (1, 2, 4, 5)], ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("kind", GATES)
def test_a_unit_speaks_through_its_columns_alone_and_through_each(kind, settings):
    """Without its columns nobody hears what it does; with any one of them somebody does."""
    network = made(kind, **settings)
    original = {name: p.detach().clone() for name, p in network.named_parameters()}
    x, rng = torch.randn(6, 5, FEATURES, dtype=torch.float64), torch.Generator().manual_seed(0)

    def output(params):
        return torch.func.functional_call(network, params, (x,))[0]

    for layer in network.hidden_layers():
        unit = int(torch.randint(HIDDEN, (), generator=rng))
        for kept in (None, *range(len(layer.fan_out))):
            silent, other = ({name: p.clone() for name, p in original.items()} for _ in range(2))
            for tensors in (silent, other):
                for number, entry in enumerate(layer.fan_out):
                    if number != kept:
                        of(tensors, entry.units, unit)[0].zero_()
            for place in (*(e.units for e in layer.fan_in), *layer.bias):
                for part in of(other, place, unit):
                    part.add_(torch.rand(part.shape, generator=rng, dtype=part.dtype))
            # A unit that is heard by its own layer alone must be heard by another unit of it, which the readout hears.
            deaf = kept is None or _unheard(network, layer, kept)
            assert torch.equal(output(silent), output(other)) == deaf, (layer.name, kept)


def _unheard(network, layer, kept):
    """A consumer that has no way to the output: a last layer's step backwards is read before it feeds back."""
    reads_first = network.readout == "last_position" and layer.name.endswith("backwards")
    is_last = layer.name.startswith(f"layers.{len(network.layers) - 1}.")
    return reads_first and is_last and layer.fan_out[kept].reads == "earlier"


@pytest.mark.parametrize("kind", GATES)
def test_a_unit_without_what_enters_it_is_silent_and_the_others_do_as_before(kind):
    network, x = made(kind), torch.randn(6, 5, FEATURES, dtype=torch.float64)
    params = dict(network.named_parameters())
    for layer in network.hidden_layers():
        with torch.no_grad():
            for part in (p for e in layer.fan_out for p in of(params, e.units, 1)):
                part.zero_()
            before = network(x)[1]
            for part in (p for place in (*(e.units for e in layer.fan_in), *layer.bias) for p in of(params, place, 1)):
                part.zero_()
        after = network(x)[1]
        for name, h in after.items():
            own = torch.arange(HIDDEN) == 1 if name == layer.name else torch.zeros(HIDDEN, dtype=torch.bool)
            assert not h[..., own].any()
            assert torch.equal(h[..., ~own], before[name][..., ~own])


@pytest.mark.parametrize("kind", GATES)
def test_heads(kind):
    network = made(kind)
    assert [network.get_parameter(name).shape[0] for name in network.output_parameters()] == [OUTPUTS] * 2
