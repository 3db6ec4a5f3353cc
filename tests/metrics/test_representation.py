"""The representation on a data set that comes batch by batch, against the formulas on all of it at once."""

import math

import pytest
import torch

from lop_lightning.metrics import Representation


def features(seeds=3, samples=300, widths=(7, 4), dtype=torch.float64):
    """Rectified features, most units of which are silent on most samples."""
    rng = torch.Generator().manual_seed(2)
    shown = {}
    for number, width in enumerate(widths):
        z = torch.randn(seeds, samples, width, generator=rng, dtype=torch.float64)
        thresholds = torch.linspace(-1, 3.2, width, dtype=torch.float64)
        shown[f"layers.{number}"] = (z - thresholds).relu().to(dtype)
    return shown


def batches(shown, *sizes):
    parts = {name: h.split(list(sizes), dim=1) for name, h in shown.items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(len(sizes))]


def by_hand(shown, share=0.01):
    """The three numbers of one seed, from features ``[N, n]`` by layer."""
    rare = units = 0
    for h in shown.values():
        for unit in h.T:
            units += 1
            rare += (unit != 0).sum().item() / len(unit) < share
    s = torch.linalg.svdvals(h)  # of the last
    p = s / s.sum()
    entropy = -sum(x * math.log(x) for x in p.tolist() if x)
    total, count = 0.0, 0
    for value in s.tolist():
        total, count = total + value, count + 1
        if total >= 0.99 * s.sum().item():
            break
    return rare / units, math.exp(entropy), count


@pytest.mark.parametrize("sizes", [(300,), (100, 100, 100), (250, 49, 1), (1, 299)])
def test_by_hand_however_the_batches_are_cut(sizes):
    shown, representation = features(), Representation()
    for batch in batches(shown, *sizes):
        representation.add(batch)
    found = representation.measures()
    assert set(found) == {"rarely_active_units", "effective_rank", "srank_99"}
    for seed in range(3):
        rare, rank, srank = by_hand({name: h[seed] for name, h in shown.items()})
        assert 0 < rare < 1
        assert found["rarely_active_units"][seed].item() == pytest.approx(rare)
        assert found["effective_rank"][seed].item() == pytest.approx(rank)
        assert found["srank_99"][seed].item() == srank


def test_the_share_is_strict():
    h = torch.zeros(1, 200, 3)
    h[0, :1, 0], h[0, :2, 1], h[0, :3, 2] = -1.0, 1.0, 1.0  # on 0.5, 1 and 1.5 per cent of the samples
    for share, rare in ((0.01, 1 / 3), (0.0101, 2 / 3), (0.005, 0.0), (0.5, 1.0)):
        representation = Representation(share)
        representation.add({"layer": h})
        assert representation.measures()["rarely_active_units"].item() == pytest.approx(rare)


def test_layers_count_by_their_units_and_samples_by_their_layers():
    """Maps have more samples than vectors: every unit is judged by its own layer's."""
    maps, vector = torch.ones(1, 1000, 6), torch.ones(1, 10, 2)
    maps[0, 5:, :3] = 0  # on 0.5 per cent
    vector[0, 1:, 0] = 0  # on 10 per cent
    representation = Representation()
    representation.add({"maps": maps, "vector": vector})
    found = representation.measures()
    assert found["rarely_active_units"].item() == pytest.approx(3 / 8)
    assert found["effective_rank"].item() == pytest.approx(by_hand({"vector": vector[0].double()})[1], rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("batch", [0, 1])
def test_a_seed_that_diverged_is_no_number_and_the_others_are(bad, layer, batch):
    shown, sound = features(), Representation()
    parts = batches(shown, 150, 150)
    for part in parts:
        sound.add(part)
    spoilt = Representation()
    parts = [{name: h.clone() for name, h in part.items()} for part in parts]
    parts[batch][f"layers.{layer}"][1, 3, 2] = bad
    for part in parts:
        spoilt.add(part)
    before, after = sound.measures(), spoilt.measures()
    assert after["rarely_active_units"].isnan().tolist() == [False, True, False]
    assert after["effective_rank"].isnan().tolist() == [False, layer == 1, False]
    assert after["srank_99"].isnan().tolist() == [False, layer == 1, False]
    for name in before:
        assert torch.equal(before[name][[0, 2]], after[name][[0, 2]])


def test_silent_networks_and_types():
    representation = Representation()
    representation.add({"layer": torch.zeros(2, 5, 3)})
    found = representation.measures()
    assert {name: values.tolist() for name, values in found.items()} == {
        "rarely_active_units": [1, 1], "effective_rank": [0, 0], "srank_99": [0, 0],
    }  # fmt: skip
    assert {values.dtype for values in found.values()} == {torch.float32}
    with pytest.raises(ValueError, match="at least one hidden layer"):
        Representation().add({})
