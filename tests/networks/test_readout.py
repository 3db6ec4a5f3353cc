"""Readouts side by side: drawn as PyTorch draws them, some of them asked, more of them later."""

import pytest
import torch
from torch import nn

from lop_lightning.errors import ConfigError
from lop_lightning.networks import GRU
from lop_lightning.networks.readout import Readout


def built(kind, *arguments, **settings):
    torch.manual_seed(3)
    return kind(*arguments, **settings)


def test_heads_are_linear_layers_drawn_one_after_another():
    torch.manual_seed(3)
    separate = [nn.Linear(5, 2) for _ in range(3)]
    heads = built(Readout, 5, 6, heads=3)
    h = torch.randn(4, 5)
    torch.testing.assert_close(heads(h), torch.cat([head(h) for head in separate], 1))
    assert torch.equal(built(Readout, 5, 6).weight, built(nn.Linear, 5, 6).weight)


def test_more_heads_begin_with_the_same_ones():
    few, many = built(Readout, 5, 4, heads=2), built(Readout, 5, 10, heads=5)
    assert torch.equal(many.weight[:4], few.weight)
    assert torch.equal(many.bias[:4], few.bias)


def test_only_those_asked_are_computed():
    heads, h = built(Readout, 5, 10, heads=5), torch.randn(4, 5)
    whole = heads(h)
    heads.asked = (1, 3)
    torch.testing.assert_close(heads(h), whole[:, 2:8])


def test_a_network_passes_it_on():
    network = built(GRU, (7, 1), 6, hidden=4, ragged=True, heads=3)
    x = torch.randn(2, 7, 1)
    whole, _ = network(x)
    network.ask((2, 1))
    torch.testing.assert_close(network(x)[0], whole[:, 4:])
    network.ask(None)
    torch.testing.assert_close(network(x)[0], whole)


def test_outputs_must_be_shared_out_equally():
    with pytest.raises(ConfigError, match="heads=3"):
        Readout(5, 4, heads=3)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_comes_after_the_end_is_not_read(bidirectional):
    network = built(GRU, (9, 1), 2, hidden=4, bidirectional=bidirectional, ragged=True)
    x = torch.randn(3, 5, 1)
    padded = torch.cat([x, torch.full((3, 4, 1), float("nan"))], 1)
    torch.testing.assert_close(network(padded)[0], network(x)[0])
    assert network.trace(padded).lengths.tolist() == [5, 5, 5]
    padded.nan_to_num_(7.0)
    assert not torch.allclose(network(padded)[0], network(x)[0])
