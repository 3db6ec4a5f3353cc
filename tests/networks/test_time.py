"""Sequences that end at different times, against plain loops."""

import pytest
import torch

from lop_lightning.networks.time import READS, pick, reading_weights, reverse

LENGTHS = torch.tensor([4, 1, 3, 0])


def test_a_sequence_in_reverse_keeps_its_padding_at_its_end():
    x = torch.arange(1, 1 + 4 * 2 * 3 * 2).reshape(4, 2, 3, 2)  # [T, k, F, b]
    lengths = LENGTHS.view(2, 2)
    found = reverse(x, lengths)
    for tile in range(2):
        for b in range(2):
            n = int(lengths[tile, b])
            assert torch.equal(found[:n, tile, :, b], x[:n, tile, :, b].flip(0))
            assert torch.equal(found[n:, tile, :, b], x[n:, tile, :, b])
    assert torch.equal(reverse(found, lengths), x)
    assert torch.equal(reverse(x, None), x.flip(0))
    assert torch.equal(reverse(x, torch.full((2, 2), 4)), x.flip(0))


def test_the_state_that_is_picked():
    states = torch.randn(4, 4, 3)
    assert torch.equal(pick(states, "first", LENGTHS), states[:, 0])
    assert torch.equal(pick(states, "final", None), states[:, 3])
    expected = torch.stack([states[0, 3], states[1, 0], states[2, 2], states[3, 0]])  # an empty one: the first
    assert torch.equal(pick(states, "final", LENGTHS), expected)


def read(reads, length):
    """Steps of a sequence that are read."""
    steps = list(range(length))
    return {"every": steps, "earlier": steps[:-1], "final": steps[-1:], "first": [0]}[reads]


@pytest.mark.parametrize("lengths", [None, [4, 1, 3, 2], [1, 1, 1, 1], [0, 4, 0, 2]])
@pytest.mark.parametrize("reads", READS)
def test_the_weights_make_the_mean_of_what_is_read(reads, lengths):
    states = torch.randn(4, 4, 3, dtype=torch.float64)
    weights = reading_weights(reads, None if lengths is None else torch.tensor(lengths), states)
    places = [(b, t) for b, n in enumerate(lengths or [4] * 4) for t in read(reads, n)]
    assert sorted(map(tuple, weights.nonzero().tolist())) == places
    if places:
        assert weights.sum().item() == pytest.approx(1)
        mean = torch.stack([states[place] for place in places]).mean(0)
        torch.testing.assert_close(torch.einsum("bt,btu->u", weights, states), mean, rtol=1e-12, atol=1e-14)
    assert weights.dtype == states.dtype


def test_an_unknown_reading_is_refused():
    with pytest.raises(KeyError):
        reading_weights("last", None, torch.zeros(1, 2, 3))
