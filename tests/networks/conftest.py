"""What the tests of networks share."""

import pytest
import torch


@pytest.fixture
def shaken():
    """Gives a network biases, normalisation and statistics that are not those of a fresh one."""

    @torch.no_grad()
    def shake(network):
        for tensor in (*network.parameters(), *network.buffers()):
            tensor += 0.2 * torch.rand_like(tensor)
        return network

    return shake


@pytest.fixture
def at():
    """Gives a view of what belongs to one unit in a tensor, the axis of its units first."""

    def view(tensors, place, unit):
        entries = place.entries(unit[None]).tolist()
        assert entries == list(range(entries[0], entries[-1] + 1))
        return tensors[place.parameter].movedim(place.axis, 0)[entries[0] : entries[-1] + 1]

    return view
