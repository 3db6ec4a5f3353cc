from itertools import permutations

import pytest
import torch

from lop_lightning.errors import ConfigError
from lop_lightning.tasks.language_binary import LanguageBinary

LANGUAGES = ["spa", "rus", "cmn", "hin"]
PAIRS = sorted(permutations(LANGUAGES, 2))


def small(**changes):
    settings = {"languages": LANGUAGES, "sentences": 15, "test_sentences": 5, "max_length": 9, "vocabulary": 200}
    return LanguageBinary(**{**settings, **changes})


def pairs(stream, seed, begin, end):
    return [tuple(stream.task(seed, index).info["languages"]) for index in range(begin, end)]


def test_every_ordered_pair_comes_once_a_block():
    stream = small()
    for seed in (0, 1):
        for block in range(2):
            assert sorted(pairs(stream, seed, 12 * block, 12 * block + 12)) == PAIRS
    assert len({str(pairs(stream, seed, begin, begin + 12)) for seed in (0, 1) for begin in (0, 12)}) == 4
    assert pairs(small(), 1, 5, 6) == pairs(stream, 1, 0, 12)[5:6]


def test_a_task_has_two_languages_in_turn():
    stream = small()
    table = {language: stream.tables.train.tokens[number::4] for number, language in enumerate(LANGUAGES)}
    held_out = {language: stream.tables.test.tokens[number::4] for number, language in enumerate(LANGUAGES)}
    for index in range(6):
        task = stream.task(3, index)
        for (inputs, targets), rows, count in (
            (task.train, table, 10), (task.evaluation["test"], held_out, 5),
        ):  # fmt: skip
            assert inputs.shape == (2 * count, 9)
            for label, language in enumerate(task.info["languages"]):
                assert torch.equal(inputs[targets == label], rows[language])
            assert targets.view(-1, 2).sum(1).eq(1).all()


def test_a_sentence_keeps_its_side():
    """None that a task tests on is trained on in any other; and mirrored pairs differ in their labels alone."""
    stream = small(sentences=60, test_sentences=20, max_length=40)
    train, test = ({tuple(row) for row in table.tokens.tolist()} for table in (stream.tables.train, stream.tables.test))
    assert len(train) == 160
    assert not train & test
    tasks = [stream.task(0, index) for index in range(12)]
    assert {tuple(row) for task in tasks for row in task.train[0].tolist()} == train
    assert {tuple(row) for task in tasks for row in task.evaluation["test"][0].tolist()} == test
    by_pair = {tuple(task.info["languages"]): task for task in tasks}
    one, mirrored = by_pair["spa", "hin"], by_pair["hin", "spa"]
    assert torch.equal(one.train[0], mirrored.train[0])
    assert torch.equal(one.train[1], 1 - mirrored.train[1])


def test_seeds_have_pairs_of_their_own():
    stream = small(seeds=4, batch_size=6, probe_size=8)
    stacked, held_out = stream.load(7), stream.load_evaluation(7)["test"]
    assert len({tuple(stream.task(seed, 7).info["languages"]) for seed in range(4)}) > 1
    for seed in range(4):
        task = stream.task(seed, 7)
        for one, (inputs, targets) in ((stacked, task.train), (held_out, task.evaluation["test"])):
            found = one.slice(0, one.size, one.size)
            assert torch.equal(found[0][0, seed], inputs)
            assert torch.equal(found[1][0, seed], targets)
        assert all(torch.equal(a[seed], b) for a, b in zip(stream.stacked_probe(7), stream.probe(seed, 7)))
    order = torch.tensor([[[3, 1]] * 4])
    assert torch.equal(stacked.gather(order)[0][0, 2], stream.task(2, 7).train[0][[3, 1]])


def test_spec():
    spec = small().spec
    assert (spec.input_shape, spec.output_size, spec.loss) == ((9,), 2, "cross_entropy")
    assert spec.vocabulary <= 200
    assert small().task_size == 20


def test_one_language_is_no_pair():
    with pytest.raises(ConfigError, match="at least 2 languages"):
        small(languages=["spa"])
    with pytest.raises(ConfigError, match="test_sentences=15"):
        small(test_sentences=15)
