"""Streams of bit sequences: what a batch is, purity, seeds on levels of their own, heads, checks, resumption."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.tasks import DelayedMatch, Parity, Position, StreamSpec

LENGTHS = json.loads((Path(__file__).parents[1] / "golden" / "timescales_tasks.json").read_text())["length_sampling"]
STREAMS = {
    "parity": Parity,
    "dms": DelayedMatch,
    "continuous": lambda **more: Parity(repeats=[3, 1], **more),
    "continuous_dms": lambda **more: DelayedMatch(repeats=[2], **more),
    "plus_minus": lambda **more: Parity(values="plus_minus", probability=0.3, **more),
    "single": lambda **more: Parity(**{"curriculum": "single", **more}),
}


@pytest.fixture(params=STREAMS)
def make(request):
    small = {"batch_size": 4, "updates_per_task": 6, "check_batches": 2, "probe_size": 5}
    return lambda **more: STREAMS[request.param](**{**small, **more})


def small_parity(**more):
    return Parity(**{"batch_size": 4, "updates_per_task": 6, "check_batches": 2, "probe_size": 5, **more})


def solve(stream, *solved, task=0):
    """A check that these seeds pass, and the others do not."""
    shares = [[1.0 if seed in solved else 0.0] * (level["high"] - level["low"] + 1) for seed, level in stream.places]
    return stream.advance(task, shares)


def stripped(inputs):
    """``[B, T_pad, F]`` without the steps after the end, at which all is NaN."""
    there = ~inputs[0, :, 0].isnan()
    length = int(there.sum())
    assert there[:length].all()
    assert not inputs[:, :length].isnan().any()
    assert inputs[:, length:].isnan().all()
    return inputs[:, :length]


def updates(chunks, row=0, first=0):
    """The batches of one seed, without padding: inputs, and the targets that are asked of it by head."""
    made = []
    for chunk in chunks:
        for inputs, targets in zip(chunk.inputs[:, row], chunk.targets[:, row]):
            columns = {first + k: own.tolist() for k, own in enumerate(targets.T) if own[0] >= 0}
            made.append((stripped(inputs).tolist(), columns))
    return made


def test_shapes(make):
    stream = make(seeds=[4, 2], init_heads=3, curriculum="cumulative", start_n=4)
    spec, rounds = stream.spec, stream.sequences.rounds
    timed = stream.sequences.features == 2
    longest = 25 * max(stream.sequences.repeats, default=1)
    shape = (longest, 2 if timed else 1)
    assert spec == StreamSpec(shape, 6, "multi_head_cross_entropy", ragged=True, timed=timed, heads=3)
    assert stream.updates_per_task() == 6 * rounds == stream.task_size // 4
    assert stream.updates_before(Position(3, 0, 1)) == 18 * rounds + 1
    for chunk in stream.task_chunks(0):
        assert chunk.inputs.shape[1:3] == (2, 4)
        assert chunk.inputs.shape[3] <= longest
        assert chunk.inputs.shape[4:] == shape[1:]
        assert chunk.inputs.dtype == torch.float32
        assert chunk.targets.shape == (*chunk.inputs.shape[:3], 3)
        assert chunk.targets.dtype == torch.int64
        assert chunk.self_paced
    solve(stream, 4, 2)
    assert stream.spec == spec  # of the first range, whatever comes


def test_labels_are_those_of_the_bits(make):
    stream = make(init_heads=4, curriculum="cumulative", updates_per_task=30)
    for number, (steps, columns) in enumerate(updates(stream.task_chunks(1))):
        k = stream.sequences.repeats_of(number)
        bits = (torch.tensor(steps)[:, ::k, 0] > 0).int()
        for n, labels in enumerate((columns[head] for head in range(4)), 2):
            last = bits[:, -n:]
            odd, match = last.sum(1) % 2, (last[:, 0] == last[:, -1]).int()
            assert labels == (match if stream.labels.__name__ == "dms_labels" else odd).tolist()


def test_continuous_time():
    stream = small_parity(repeats=[3, 1, 2])
    seen = [torch.tensor(inputs) for inputs, _ in updates(stream.task_chunks(0))]
    assert len(seen) == 18
    for number, inputs in enumerate(seen):
        k = (3, 1, 2)[number % 3]
        assert torch.equal(inputs[..., 1], torch.full_like(inputs[..., 1], 1 / k))
        by_bit = inputs[..., 0].unflatten(1, (-1, k))
        assert (by_bit == by_bit[..., :1]).all()
        assert 4 <= by_bit.shape[1] <= 9
    assert [inputs[0, 0, 0, 1].item() for inputs, _ in stream.checks(0)] == pytest.approx([1 / 3, 1, 1 / 2] * 2)
    probes = [stream.stacked_probe(index)[0][0, 0, 0, 1].item() for index in range(3)]
    assert probes == pytest.approx([1 / 3, 1, 1 / 2])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_lengths(n):
    golden = LENGTHS["examples"][str(n)]
    stream = DelayedMatch(start_n=n, batch_size=1, updates_per_task=3000)
    lengths = [len(inputs[0]) for inputs, _ in updates(stream.task_chunks(0))]
    assert set(lengths) == set(range(golden["min"], golden["max_inclusive"] + 1))
    assert np.mean(lengths) == pytest.approx(golden["mean"], abs=6 * n / np.sqrt(3000))


def test_how_often_the_answer_is_one():
    """Uniform p: odd in a half of the cases for odd N, in N/(2(N+1)) for even N. 40,000 sequences: 4 σ are 0.01."""
    settings = {"init_heads": 4, "batch_size": 400, "updates_per_task": 100}
    shares = {
        name: stream.task(0, 0).train[1].double().mean(0).tolist()
        for name, stream in {
            "uniform": Parity(**settings),
            "0.1": Parity(probability=0.1, **settings),
            "dms": DelayedMatch(**settings),
            "dms_uniform": DelayedMatch(probability="uniform", **settings),
        }.items()
    }
    assert shares["uniform"] == pytest.approx([1 / 3, 1 / 2, 2 / 5, 1 / 2], abs=0.01)
    assert shares["0.1"] == pytest.approx([(1 - 0.8**n) / 2 for n in (2, 3, 4, 5)], abs=0.01)
    assert shares["dms"] == pytest.approx([1 / 2] * 4, abs=0.01)
    assert shares["dms_uniform"] == pytest.approx([2 / 3] * 4, abs=0.01)
    assert "67% at N=2" in Parity().notes[0]
    assert Parity(probability=0.5).notes == DelayedMatch().notes == ()


def test_a_period_is_pure(make):
    fresh, used = make(), make(seeds=3)
    for seed, index in [(1, 9), (0, 2), (2, 7)]:
        used.task(seed, index)
        list(used.task_chunks(index))
        list(used.checks(index))
    a, b = fresh.task(2, 7), used.task(2, 7)
    assert a.info == b.info == {"low": 2, "high": 2}
    assert all(torch.equal(x.nan_to_num(9), y.nan_to_num(9)) for x, y in zip(a.train, b.train))
    first = stripped(a.train[0][:4])
    for other in (fresh.task(2, 8), fresh.task(1, 7)):
        beginning = stripped(other.train[0][:4])
        assert first.shape != beginning.shape or not torch.equal(first, beginning)


def test_a_task_is_its_updates(make):
    stream = make(seeds=[4, 2], chunk=100)
    (chunk,) = stream.task_chunks(3)
    inputs, targets = stream.task(2, 3).train
    steps = inputs.shape[1]
    assert torch.equal(inputs.nan_to_num(9), chunk.inputs[:, 1, :, :steps].flatten(0, 1).nan_to_num(9))
    assert torch.equal(targets, chunk.targets[:, 1].flatten(0, 1))
    order = torch.tensor([[[0, 5], [7, 3]]])
    gathered = stream.stacked(3).gather(order)
    assert torch.equal(gathered[1][0, 1], targets[[7, 3]])
    assert torch.equal(gathered[0][0, 1, :, :steps].nan_to_num(9), inputs[[7, 3]].nan_to_num(9))


@pytest.mark.parametrize("chunk", [1, 7, "auto"])
def test_chunks_hold_the_same_updates_however_they_are_cut(make, chunk):
    def passed(**more):
        stream = make(seeds=2, **more)
        solve(stream, 1)
        return stream

    for row in (0, 1):
        whole, cut = passed(chunk=10**6), passed(chunk=chunk)
        assert updates(whole.task_chunks(1), row) == updates(cut.task_chunks(1), row)


def test_chunks_are_cut_by_the_level(monkeypatch):
    monkeypatch.setattr(
        "lop_lightning.tasks.paced.CHUNK_BYTES", 3 * 4 * 4 * 9 * 2
    )  # three updates of two seeds at N = 2
    stream = small_parity(seeds=2, updates_per_task=7, add_heads=7)
    assert [len(chunk.inputs) for chunk in stream.task_chunks(0)] == [3, 3, 1]
    late = list(stream.chunks(Position(0, 0, 4)))
    assert [(chunk.begin.update, chunk.end) for chunk in late] == [(4, Position(0, 0, 6)), (6, Position(1))]
    solve(stream, 1)
    assert [len(chunk.inputs) for chunk in stream.task_chunks(1)] == [1] * 7
    assert small_parity(chunk=4, updates_per_task=7).chunk_updates == 4


@pytest.mark.parametrize("curriculum", ["cumulative", "sliding", "single"])
@pytest.mark.parametrize("heads", ["by_n", "position"])
def test_seeds_together_are_seeds_alone(curriculum, heads):
    settings = {"curriculum": curriculum, "heads": heads, "init_heads": 3, "forget_heads": 2}
    together = small_parity(seeds=[5, 0, 8], **settings)
    alone = {seed: small_parity(seeds=[seed], **settings) for seed in together.seeds}
    for task, passing in enumerate([{5, 8}, {8}, {0, 8}, set()]):
        for row, seed in enumerate(together.seeds):
            own = alone[seed]
            assert own.levels == [together.levels[row]]
            expected = updates(own.task_chunks(task), first=own.asked[0])
            assert updates(together.task_chunks(task), row, together.asked[0]) == expected
            pairs = zip(together.checks(task), own.checks(task), strict=True)
            probes = (together.stacked_probe(task), own.stacked_probe(task))
            for (inputs, targets), (own_inputs, own_targets) in [*pairs, probes]:
                assert torch.equal(stripped(inputs[row]), stripped(own_inputs[0]))
                there = targets[row][:, targets[row][0] >= 0]
                assert torch.equal(there, own_targets[0][:, own_targets[0][0] >= 0])
            solve(own, *passing, task=task)
        solve(together, *passing, task=task)
    assert together.history == [own.history[0] for own in alone.values()]


def test_heads_of_seeds_at_different_levels():
    """A seed at N = 2 … 4 and one at 6 … 8."""
    for heads, asked, columns in (
        ("by_n", (0, 7), [[0, 1, 2], [4, 5, 6]]),
        ("position", (0, 3), [[0, 1, 2], [0, 1, 2]]),
    ):
        stream = small_parity(seeds=2, curriculum="sliding", init_heads=3, forget_heads=2, heads=heads)
        assert (stream.asked, stream.head_count) == ((0, 3), 3)
        solve(stream, 1), solve(stream, 1)
        assert (stream.asked, stream.head_count, stream.standing) == (asked, sum(asked), "N 4-8")
        for _, targets in [stream.stacked_probe(1), *stream.checks(1)]:
            assert [own[0].ge(0).nonzero().flatten().tolist() for own in targets] == columns
            assert ((targets >= 0) == (targets[:, :1] >= 0)).all()
        for seed, own in enumerate(columns):  # one seed's data are asked of the same heads
            for targets in (stream.task(seed, 1).train[1], stream.probe(seed, 1)[1]):
                assert targets.shape[1] == asked[1]
                assert targets[0].ge(0).nonzero().flatten().tolist() == own
    stream = small_parity(seeds=2, curriculum="sliding", init_heads=3, forget_heads=2)
    solve(stream, 0, 1), solve(stream, 0)
    assert (stream.asked, stream.head_count) == ((2, 5), 7)  # heads that nobody needs are not asked
    assert stream.stacked_probe(0)[1].shape == (2, 5, 5)


def test_heads_by_default():
    assert [Parity(curriculum=name).heads for name in ("cumulative", "sliding", "single", "none", "adaptive")] == [
        "by_n", "by_n", "position", "by_n", "by_n",
    ]  # fmt: skip
    stream = small_parity(curriculum="single", start_n=3)
    for _ in range(4):
        solve(stream, 0)
    assert (stream.levels[0]["low"], stream.asked) == (7, (0, 1))
    assert small_parity(curriculum="single", heads="by_n", start_n=3).asked == (0, 1)


def test_training_checks_and_probe_share_no_sequences():
    stream = DelayedMatch(start_n=20, batch_size=2, updates_per_task=4, check_batches=4, probe_size=2)
    made = [torch.tensor(inputs) for task in (0, 1) for inputs, _ in updates(stream.task_chunks(task))]
    made += [stripped(inputs[0]) for task in (0, 1) for inputs, _ in stream.checks(task)]
    made += [stripped(stream.stacked_probe(index)[0][0]) for index in (0, 1)]
    beginnings = {str(one[:, :22].tolist()) for one in made}
    assert len(beginnings) == len(made) == 18


def test_the_probe_is_that_of_one_seed(make):
    stream = make(seeds=[4, 2])
    inputs, targets = stream.stacked_probe(3)
    for row, seed in enumerate(stream.seeds):
        own = stream.probe(seed, 3)
        assert own[0].shape[0] == 5
        assert torch.equal(stripped(inputs[row]), own[0])
        assert torch.equal(targets[row], own[1])


def test_advance_and_history():
    stream = small_parity(seeds=[7, 3], largest_n=3)
    assert solve(stream, 3, task=0) == [1]
    assert solve(stream, task=1) == []
    assert stream.advance(2, [[1.0], [1.0, 1.0]], updates=99) == [0, 1]
    assert not stream.finished
    assert stream.history == [
        [{"task": 2, "low": 2, "high": 2, "solved": 2, "updates": 99}],
        [{"task": 0, "low": 2, "high": 2, "solved": 2, "updates": 6},
         {"task": 2, "low": 2, "high": 3, "solved": 3, "updates": 99}],
    ]  # fmt: skip
    assert [level["finished"] for level in stream.levels] == [False, True]
    assert len(updates(stream.task_chunks(3), row=1)) == 6  # it goes on while the other needs time
    assert solve(stream, 7, 3, task=3) == [0]
    assert stream.finished
    assert list(stream.train_dataloader()) == []
    assert small_parity(tasks=1).finished is False


def test_a_range_given_back_is_in_the_history():
    stream = small_parity(curriculum="adaptive", init_heads=4, patience=1)
    moved = [solve(stream, task=task) for task in (0, 1)]
    assert moved == [[], [0]]
    assert stream.history == [[{"task": 1, "low": 2, "high": 5, "solved": 0, "updates": 12}]]
    assert stream.asked == (0, 2)


def test_resumption(make, tmp_path):
    first, settings = make(seeds=[0, 6], chunk=4), {"seeds": [0, 6], "chunk": 4}
    solve(first, 6)
    first.position = Position(1, 0, 4)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = make(**settings)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (second.levels, second.history, second.position) == (first.levels, first.history, first.position)
    for row in (0, 1):
        rest = updates(second.train_dataloader(), row)
        assert rest == updates(first.train_dataloader(), row)
        assert rest == updates(first.task_chunks(1), row)[4:]
    saved = first.state_dict()
    solve(first, 0, 6, task=1)
    assert (saved["levels"], saved["history"]) == (second.levels, second.history)  # what is saved stays as it was


def test_a_mask_or_held_out_set_there_is_none(make):
    stream = make()
    assert stream.stacked_evaluation(0) == {}
    assert stream.stacked(0).active_outputs is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"probability": 0.0}, r"probability=0.0 is not legal: expected a number in \(0, 1\)"),
        ({"probability": 1.0}, "probability=1.0"),
        ({"probability": "unifrom"}, "probability=unifrom .*; did you mean 'uniform'?"),
        ({"repeats": [7, 0]}, r"repeats=\[7, 0\] is not legal: expected a list of whole numbers of at least 1"),
        ({"repeats": [1.5]}, "repeats="),
        ({"repeats": 7}, "repeats=7"),
        ({"repeats": "7,8"}, "repeats=7,8"),
        ({"values": "plusminus"}, "values=plusminus .*; did you mean 'plus_minus'?"),
        ({"heads": "byn"}, "heads=byn .*; did you mean 'by_n'?"),
        ({"check_batches": 0}, "check_batches=0"),
        ({"updates_per_task": 0}, "updates_per_task=0"),
        ({"batch_size": None}, "batch_size=null"),
        ({"probe_size": 0}, "probe_size=0"),
        ({"tasks": 0}, "tasks=0"),
        ({"start_n": 1}, "start_n=1"),
    ],
)
@pytest.mark.parametrize("stream", [Parity, DelayedMatch])
def test_wrong_settings(stream, settings, words):
    with pytest.raises(ConfigError, match=f"^{words}") as error:
        stream(**settings)
    assert "\n" not in str(error.value)
