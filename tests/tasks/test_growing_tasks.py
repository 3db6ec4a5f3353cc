"""Streams whose tasks differ in size, and those whose examples look different in each pass: clock and chunks."""

import itertools

import pytest
import torch

from lop_lightning.tasks.base import Position, ResidentTask, StreamSpec, Task
from lop_lightning.tasks.stream import TaskStream

SIZES = (3, 8, 5)
PASSES, EPOCHS, SEEDS = 2, 3, [4, 9]


class Looks(ResidentTask):
    """Shows, besides which example it is, the pass in which it is seen."""

    def vary(self, order, number):
        inputs, targets = self.gather(order)
        return inputs + 100 * number, targets


class Growing(TaskStream):
    """Example i of task t is the number i; targets are (seed, task)."""

    spec = StreamSpec((), 1, "mse")
    task_size = max(SIZES)

    def __init__(self, varies=False, held_out=None, **settings):
        super().__init__(tasks=len(SIZES), seeds=SEEDS, passes_per_epoch=PASSES, epochs_per_task=EPOCHS, **settings)
        self.varies, self.held_out, self.made = varies, held_out, []

    def size_of(self, task):
        return SIZES[task]

    def task(self, seed, index):
        self.made.append((seed, index))
        size = SIZES[index]
        targets = torch.tensor([[seed, index]]).expand(size, -1)
        held_out = {} if self.held_out is None else {"test": (torch.full((2,), seed), torch.full((2,), index))}
        return Task(index, (torch.arange(size).float(), targets), held_out)

    def load(self, index):
        stacked = super().load(index)
        return Looks(stacked.inputs, stacked.targets)


EVERY = itertools.product((1, 2, 3, 4, 8, None), (1, 2, 3, 5, "auto"), (False, True), (False, True))
CASES = [case for case in EVERY if case[0] or not case[3]]  # a full batch is a view, and looks as it is


@pytest.mark.parametrize(("batch", "chunk", "shuffle", "varies"), CASES)
def test_every_pass_shows_every_example_once(batch, chunk, shuffle, varies):
    stream = Growing(varies, batch_size=batch, chunk=chunk, shuffle=shuffle)
    for task, size in enumerate(SIZES):
        per_pass = 1 if batch is None else -(-size // batch)
        assert stream.updates_per_task(task) == per_pass * PASSES * EPOCHS
        shown = [[[] for _ in SEEDS] for _ in range(PASSES * EPOCHS)]
        place = Position(task)
        for piece in stream.task_chunks(task):
            assert piece.begin == place
            place = piece.end
            limit = stream.chunk_updates
            assert len(piece.inputs) <= limit
            for number in range(len(piece.inputs)):
                visit = piece.begin.epoch * PASSES + (piece.begin.update + number) // per_pass
                for row, seed in enumerate(SEEDS):
                    shown[visit][row] += piece.inputs[number, row].tolist()
                    assert (piece.targets[number, row] == torch.tensor([seed, task])).all()
        assert place == Position(task + 1)
        for visit, rows in enumerate(shown):
            for row in rows:
                assert [x // 100 for x in row] == [visit * varies] * size
                assert sorted(x % 100 for x in row) == list(range(size))
                assert shuffle or row == sorted(row)


@pytest.mark.parametrize(("batch", "chunk", "varies"), [(2, 3, True), (2, 3, False), (4, 1, True), (4, 5, False)])
def test_chunks_are_cut_on_a_grid_wherever_one_begins(batch, chunk, varies):
    stream = Growing(varies, batch_size=batch, chunk=chunk, shuffle=True)
    for task, epoch in itertools.product(range(len(SIZES)), range(EPOCHS)):
        whole = list(stream.chunks(Position(task, epoch)))
        for first, piece in enumerate(whole):
            rest = list(stream.chunks(piece.begin))
            assert [p.begin for p in rest] == [p.begin for p in whole[first:]]
            assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(rest, whole[first:], strict=True))
        assert [p.ends_epoch for p in whole] == [False] * (len(whole) - 1) + [True]
        assert [p.ends_task for p in whole] == [False] * (len(whole) - 1) + [epoch == EPOCHS - 1]


def test_the_clock_counts_what_is_shown():
    stream = Growing(batch_size=3)
    assert [stream.updates_per_pass(task) for task in range(3)] == [1, 3, 2]
    assert [stream.updates_before(Position(task)) for task in range(4)] == [0, 6, 24, 36]
    assert stream.updates_before(Position(1, 2, 4)) == 6 + 12 + 4
    assert stream.total_updates == 36 == sum(len(p.inputs) for t in range(3) for p in stream.task_chunks(t))


def test_held_out_sets_of_all_seeds():
    stream = Growing(held_out=True)
    sets = stream.stacked_evaluation(2)
    assert sets["test"].inputs.tolist() == [[4, 4], [9, 9]]
    assert sets["test"].targets.tolist() == [[2, 2], [2, 2]]
    assert stream.made == [(4, 2), (9, 2)]
    assert stream.stacked_evaluation(2) is sets  # kept
    assert stream.stacked_evaluation(1) is not sets
    assert len(stream.made) == 4


def test_where_there_are_none_only_one_seed_is_asked():
    stream = Growing()
    assert stream.stacked_evaluation(1) == {}
    assert stream.made == [(4, 1)]
