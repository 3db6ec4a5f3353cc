"""Counter-based randomness: pure functions of key, clock, channel and place, that look random in every direction."""

import numpy as np
import pytest
import torch
from scipy import stats

from lop_lightning import randomness
from lop_lightning.randomness import generator, key, normal, stable_hash, uniform

KEY = torch.tensor(key(0, "noise"))
N = 50_000


def bits(k=KEY, clock=3, channel=1, shape=(N,)):
    return randomness._bits(k, clock, channel, shape)


def test_uniform_is_uniform():
    u = uniform(KEY, 3, 1, (N,), torch.float64)
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-4
    for power in (1, 2, 3, 4):
        deviation = np.sqrt((1 / (2 * power + 1) - 1 / (power + 1) ** 2) / N)
        assert abs(u.pow(power).mean() - 1 / (power + 1)) < 4 * deviation


def test_normal_is_normal():
    z = normal(KEY, 3, 1, (N,), torch.float64)
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-4
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(z.pow(power).mean() - moment) < 4 * np.sqrt(variance / N)
    assert 3.5 < z.abs().max() < 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_stays_strictly_inside_its_interval(monkeypatch, dtype):
    for word in (0, 0xFFFFFFFF):
        monkeypatch.setattr(randomness, "_bits", lambda *_, word=word: torch.tensor([word]))
        u = uniform(KEY, 0, 0, (1,), dtype)
        assert 0 < u < 1
        assert normal(KEY, 0, 0, (1,), dtype).isfinite()


def test_float32_numbers_are_the_float64_ones():
    a, b = (uniform(KEY, 3, 1, (N,), dtype) for dtype in (torch.float32, torch.float64))
    assert torch.equal(a.double(), b)


def test_every_bit_is_a_fair_coin():
    words = bits()
    table = (words[:, None] >> torch.arange(32)) & 1
    assert ((words >= 0) & (words < 2**32)).all()
    counts = table.sum(0).double()
    chi = ((counts - N / 2) ** 2 / (N / 4)).sum().item()
    assert 1e-4 < stats.chi2.sf(chi, 32) < 1 - 1e-4
    correlations = torch.corrcoef(table.T.double()).fill_diagonal_(0).abs().max()
    assert correlations < 5 / N**0.5


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_every_byte_is_uniform(shift):
    counts = torch.bincount((bits() >> shift) & 255, minlength=256).double()
    chi = ((counts - N / 256) ** 2 / (N / 256)).sum().item()
    assert 1e-4 < stats.chi2.sf(chi, 255) < 1 - 1e-4


NEIGHBOURS = {
    "keys": [{"k": torch.tensor(5)}, {"k": torch.tensor(6)}],
    "key_bits": [{"k": torch.tensor(0)}, {"k": torch.tensor(2**31)}],
    "clocks": [{"clock": 7}, {"clock": 8}],
    "far_clocks": [{"clock": 7}, {"clock": 7 + 2**32}],
    "channels": [{"channel": 4}, {"channel": 5}],
    "key_and_channel": [{"k": torch.tensor(4), "channel": 5}, {"k": torch.tensor(5), "channel": 4}],
    "channel_and_clock": [{"channel": 4, "clock": 5}, {"channel": 5, "clock": 4}],
    "shift_of_place": [{"clock": 7}, {"clock": 8}],
}


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbours_are_unrelated(name):
    a, b = (bits(**asked) for asked in NEIGHBOURS[name])
    if name == "shift_of_place":
        a, b = a[1:], b[:-1]
    n = len(a)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / n**0.5
    differing = torch.stack([((a ^ b) >> bit) & 1 for bit in range(32)]).double().mean(1)
    assert (differing - 0.5).abs().max() < 5 * 0.5 / n**0.5
    assert (a == b).sum() <= 2


def test_neighbouring_places_are_unrelated():
    u = uniform(KEY, 3, 1, (N,), torch.float64).numpy()
    for lag in (1, 2, 3, 16, 784):
        assert abs(np.corrcoef(u[:-lag], u[lag:])[0, 1]) < 4 / (N - lag) ** 0.5
    z = normal(KEY, 3, 1, (N,), torch.float64).numpy()
    assert abs(np.corrcoef(z[:-1] ** 2, z[1:] ** 2)[0, 1]) < 4 / N**0.5


def test_one_place_over_time_is_random_too():
    clocks = torch.arange(4000)
    z = torch.stack([normal(KEY, clock, 2, (3,), torch.float64) for clock in clocks]).numpy()
    for place in range(3):
        assert stats.kstest(z[:, place], "norm").pvalue > 1e-4
        assert abs(np.corrcoef(z[:-1, place], z[1:, place])[0, 1]) < 4 / 4000**0.5
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 4 / 4000**0.5


def test_no_word_occurs_twice_in_one_draw():
    """Places are hashed by a bijection, so that within one draw the words are all different."""
    assert bits(shape=(200_000,)).unique().numel() == 200_000


def test_words_hardly_repeat_over_keys_and_clocks():
    words = torch.cat([bits(torch.tensor(k), clock, channel, (50,)) for k in range(10) for clock in range(20)
                       for channel in range(5)])  # fmt: skip
    repeats = len(words) - words.unique().numel()
    assert repeats <= 8  # 50 000 words of 32 bits: 0.3 expected


def test_shapes_and_batches_of_keys():
    keys = torch.tensor([key(seed, "noise") for seed in range(4)])
    for draw in (uniform, normal):
        together = draw(keys, 9, 2, (3, 5), torch.float64)
        assert together.shape == (4, 3, 5)
        for row, k in enumerate(keys):
            assert torch.equal(together[row], draw(k, 9, 2, (3, 5), torch.float64))
        lifted = torch.vmap(lambda k, draw=draw: draw(k, torch.tensor(9), 2, (3, 5), torch.float64))(keys)
        assert torch.equal(lifted, together)
        assert draw(KEY, 9, 2, (), torch.float32).shape == ()
        assert draw(keys, 9, 2, (0, 5), torch.float32).shape == (4, 0, 5)
        assert torch.equal(draw(KEY, 9, 2, (15,), torch.float64).reshape(3, 5), together[0])


def test_a_clock_may_be_a_number_or_a_tensor():
    for clock in (0, 5, 2**31, 2**40 + 3):
        assert torch.equal(bits(clock=clock, shape=(7,)), bits(clock=torch.tensor(clock), shape=(7,)))


def test_compiled_bits_are_the_eager_ones():
    keys = torch.tensor([key(seed, "noise") for seed in range(2)])
    # inductor needs 16 s for these expressions, which no compiled update holds
    compiled = torch.compile(lambda k, clock: randomness._bits(k, clock, 3, (33,)), fullgraph=True, backend="aot_eager")
    for clock in (0, 123_456_789):
        assert torch.equal(compiled(keys, torch.tensor(clock)), bits(keys, clock, 3, (33,)))


def test_hosts_generators_are_functions_of_seed_and_purpose():
    draws = {tuple(generator(*asked).random(3)) for asked in
             [(0, "a"), (1, "a"), (0, "b"), (0, "a", 0), (0, "a", 1), (0, "a0")]}  # fmt: skip
    assert len(draws) == 6
    assert tuple(generator(0, "a").random(3)) in draws
    assert 0 <= key(3, "y") < 2**32
    assert stable_hash("ab", "c") != stable_hash("a", "bc")


def test_hash_is_the_same_in_every_process():
    assert (stable_hash("x", 1), key(0, "noise")) == (5676551364855830771, 1427720572)
