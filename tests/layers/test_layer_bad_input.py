"""What the layer refuses, in one line."""

import pytest
import torch
from torch import nn

from lop_lightning.errors import ConfigError
from lop_lightning.layers import ContinualBackpropLayer
from lop_lightning.optimizers import SGD

LINEAR, CONV = nn.Linear(4, 6), nn.Conv2d(3, 4, 3)


@pytest.mark.parametrize(
    ("incoming", "outgoing", "settings", "message"),
    [
        (
            nn.ReLU(),
            LINEAR,
            {},
            "incoming=ReLU is not legal: expected one of nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d",
        ),
        (LINEAR, nn.LSTM(6, 2), {}, "outgoing=LSTM is not legal"),
        (nn.LazyLinear(4), LINEAR, {}, "incoming=LazyLinear is not legal: expected a layer whose weight"),
        (
            nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)),
            LINEAR,
            {},
            "incoming=.*expected a layer whose weight",
        ),
        (LINEAR, nn.Linear(5, 2), {}, "outgoing=Linear with 5 inputs is not legal: expected another layer, with 6"),
        (LINEAR, nn.Linear(12, 2), {}, "outgoing=Linear with 12 inputs is not legal: expected another layer, with 6"),
        (CONV, nn.Linear(6, 2), {}, "outgoing=Linear with 6 inputs is not legal: .* with a multiple of 4 inputs"),
        (CONV, nn.Conv2d(8, 2, 1), {}, "outgoing=Conv2d with 8 inputs is not legal: expected another layer, with 4"),
        (CONV, nn.Conv2d(4, 4, 1, groups=2), {}, "outgoing=Conv2d with groups=2 is not legal"),
        (square := nn.Linear(3, 3), square, {}, "outgoing=Linear with 3 inputs is not legal: expected another layer"),
        (CONV, nn.Conv2d(4, 2, 1), {"norm": nn.BatchNorm2d(3)}, "norm=BatchNorm2d of 3 is not legal"),
        (CONV, nn.Conv2d(4, 2, 1), {"norm": nn.Dropout()}, "norm=Dropout is not legal: expected one of nn.BatchNorm1d"),
        (nn.Linear(3, 4), LINEAR, {"replacement_rate": 1.5}, "replacement_rate=1.5 is not legal"),
        (nn.Linear(3, 4), LINEAR, {"decay_rate": 1.0}, "decay_rate=1.0 is not legal"),
        (nn.Linear(3, 4), LINEAR, {"maturity_threshold": -1}, "maturity_threshold=-1 is not legal"),
        (nn.Linear(3, 4), LINEAR, {"utility": "contributoin"}, "utility=.*did you mean 'contribution'"),
        (nn.Linear(3, 4), LINEAR, {"initialisation": "zeros"}, "initialisation=zeros is not legal"),
        (nn.Linear(3, 4), LINEAR, {"activation": "rleu"}, "activation=rleu is not legal: .* did you mean 'relu'"),
        (nn.Linear(3, 4), LINEAR, {"seed": -1}, "seed=-1 is not legal"),
        (
            nn.Linear(3, 4),
            LINEAR,
            {"optimizer": SGD(0.1)},
            "optimizer=SGD is not legal: expected an optimiser of torch",
        ),
        (
            nn.Linear(3, 4),
            LINEAR,
            {"utility": "weight", "reference_compat": True},
            "reference_compat=true is not legal",
        ),
    ],
)
def test_bad_settings_are_answered_in_one_line(incoming, outgoing, settings, message):
    before = set(vars(incoming))
    with pytest.raises(ConfigError, match=f"^{message}") as raised:
        ContinualBackpropLayer(incoming, outgoing, **settings)
    assert "\n" not in str(raised.value)
    assert vars(incoming).keys() == before


def test_bad_shapes_are_answered_in_one_line():
    flat = ContinualBackpropLayer(nn.Conv2d(3, 4, 3), nn.Linear(16, 2))
    flat(torch.zeros(5, 4, 2, 2))
    flat(torch.zeros(5, 16))
    message = (
        r"input=\[5, 4, 3, 3\] is not legal: expected a batch of activations of 4 units, each with the 4 positions"
    )
    with pytest.raises(ConfigError, match=f"^{message}"):
        flat(torch.zeros(5, 4, 3, 3))
    for shape in ((5, 12), (5, 2, 4, 2), (4,)):
        with pytest.raises(ConfigError, match=r"^input="):
            flat(torch.zeros(shape))
    with pytest.raises(ConfigError, match=r"^input=\[5, 3\] is not legal: expected a batch of activations of 6 units"):
        ContinualBackpropLayer(nn.Linear(4, 6), nn.Linear(6, 1))(torch.zeros(5, 3))
    moving = ContinualBackpropLayer(nn.Linear(4, 6), nn.Linear(6, 1), decay_rate=0.9, reference_compat=True)
    moving(torch.zeros(5, 6))
    with pytest.raises(ConfigError, match=r"^input=\[4, 6, 1\] is not legal: expected batches like the last"):
        moving(torch.zeros(4, 6))
