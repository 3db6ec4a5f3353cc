import json

import pytest
import torch

from lop_lightning.errors import ConfigError, LopError
from lop_lightning.prepare.main import main
from lop_lightning.tasks import Position
from lop_lightning.tasks.language import corpus as folders
from lop_lightning.tasks.language import tokens
from lop_lightning.tasks.language.synthetic import synthetic_sentences
from lop_lightning.tasks.language_reshuffle import LanguageReshuffle

LANGUAGES = ["spa", "rus", "cmn"]
SMALL = {"languages": LANGUAGES, "sentences": 20, "test_sentences": 6, "max_length": 9, "vocabulary": 120}
FILES = {**SMALL, "source": "files"}


def small(**changes):
    return LanguageReshuffle(**{**SMALL, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What lop-prepare makes of the same sentences."""
    out = tmp_path_factory.mktemp("tatoeba") / "made"
    counts = ["--sentences", "20", "--test-sentences", "6", "--vocabulary", "120"]
    main(["tatoeba", "--synthetic", "--languages", *LANGUAGES, *counts, "--out", str(out)])
    return out


def refused(call, *parts):
    with pytest.raises(LopError) as error:
        call()
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_a_task_renames_the_languages_of_all_sentences():
    """By hand: the sentences in their order, tokenised, and one permutation for training and for testing."""
    stream = small()
    own = [synthetic_sentences(language, 20) for language in LANGUAGES]
    made = tokens.train([one.text for sentences in own for one in sentences[6:]], 120)
    for seed, index in ((0, 0), (0, 1), (4, 9)):
        task = stream.task(seed, index)
        name = {language: c for c, language in enumerate(task.info["languages"])}
        assert sorted(name) == sorted(LANGUAGES)
        for (inputs, targets), numbers in ((task.train, range(6, 20)), (task.evaluation["test"], range(6))):
            rows = [sentences[number] for number in numbers for sentences in own]
            assert inputs.tolist() == tokens.encode(made, [one.text for one in rows], 9)[0].tolist()
            assert targets.tolist() == [name[one.language] for one in rows]
            assert inputs.dtype == targets.dtype == torch.int64


def test_spec_and_sizes():
    stream = small(batch_size=4)
    spec = stream.spec
    assert (spec.input_shape, spec.output_size, spec.loss, spec.vocabulary) == ((9,), 3, "cross_entropy", 120)
    assert (stream.task_size, stream.updates_per_pass()) == (42, 11)
    task = stream.task(0, 0)
    assert task.train[0].shape == (42, 9)
    assert task.evaluation["test"][0].shape == (18, 9)
    assert list(task.evaluation) == ["test"]
    assert task.train[0].max() < 120


def test_permutations_are_pure_and_differ():
    stream = small(languages=["spa", "rus", "cmn", "deu", "hin", "ara"])
    names = [stream.task(seed, index).info["languages"] for seed in (0, 1) for index in range(6)]
    assert len({tuple(one) for one in names}) > 9
    assert small(languages=["spa", "rus", "cmn", "deu", "hin", "ara"]).task(1, 5).info["languages"] == names[-1]
    later = stream.task(1, 5).train
    assert all(torch.equal(a, b) for a, b in zip(later, stream.task(1, 5).train))


def test_seeds_together_are_seeds_apart():
    stream = small(seeds=[3, 0, 7], probe_size=10)
    assert torch.equal(stream.load(2).tokens, stream.load(5).tokens)
    assert stream.load(2).tokens.data_ptr() == stream.load(5).tokens.data_ptr()  # held once
    for s, seed in enumerate([3, 0, 7]):
        task, probe = stream.task(seed, 2), stream.probe(seed, 2)
        stacked = [*(part[0, s] for part in stream.load(2).slice(0, 42, 42)),
                   *(part[0, s] for part in stream.load_evaluation(2)["test"].slice(0, 18, 18)),
                   *(part[s] for part in stream.stacked_probe(2))]  # fmt: skip
        apart = [*task.train, *task.evaluation["test"], *probe]
        assert all(torch.equal(a, b) for a, b in zip(stacked, apart))
        assert len(probe[0]) == 10
        assert torch.equal(probe[0], task.train[0][:10])


def test_a_pass_shows_every_sentence_once():
    stream = small(seeds=2, batch_size=8, epochs_per_task=2)
    orders = []
    for epoch in range(2):
        chunks = list(stream.chunks(Position(1, epoch)))
        for s in range(2):
            rows = torch.cat([chunk.inputs[:, s].flatten(0, 1) for chunk in chunks])
            labels = torch.cat([chunk.targets[:, s].flatten() for chunk in chunks])
            seen = sorted(zip(rows.tolist(), labels.tolist()))
            inputs, targets = stream.task(s, 1).train
            assert seen == sorted(zip(inputs.tolist(), targets.tolist()))
            orders.append(rows.tolist())
    assert len({str(order) for order in orders}) == 4


def test_truncation_is_told():
    stream = small(max_length=25)
    share = stream.task(0, 0).info["truncated"]
    assert 0 < share["test"] < 1
    assert 0 < share["train"] < 1
    assert small(max_length=200).task(0, 0).info["truncated"] == {"train": 0, "test": 0}
    rows = stream.tables.train.tokens
    full = rows[:, -1] > 0
    assert (rows[full][:, -1] == 3).all()  # [SEP] stays


def test_files_are_the_same_as_synthetic(folder):
    """Prepared from the same sentences, the stream of files is the stream of made-up ones."""
    made, read = small().task(2, 3), LanguageReshuffle(**FILES, data_dir=str(folder)).task(2, 3)
    assert all(torch.equal(a, b) for a, b in zip(made.train, read.train))
    assert all(torch.equal(a, b) for a, b in zip(made.evaluation["test"], read.evaluation["test"]))
    assert made.info == read.info
    fewer = LanguageReshuffle(**{**FILES, "languages": ["cmn", "spa"], "sentences": 9, "test_sentences": 2},
                              data_dir=str(folder))  # fmt: skip
    assert torch.equal(fewer.tables.train.tokens[::2], read.train[0][2::3][:7])
    assert torch.equal(fewer.tables.test.tokens[1::2], read.evaluation["test"][0][::3][:2])


def test_a_tokeniser_of_ones_own(tmp_path, folder):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join([*tokens.SPECIAL, "о", "##о"]) + "\n", encoding="utf-8")
    for settings in (SMALL, {**FILES, "data_dir": str(folder)}):
        stream = LanguageReshuffle(**settings, tokenizer=str(file))
        assert stream.spec.vocabulary == 6
        assert stream.tables.train.tokens.max() < 6
    refused(lambda: small(tokenizer=str(tmp_path / "no.txt")).spec, "there is no tokeniser", "no.txt")
    refused(lambda: small(tokenizer=""), "tokenizer= is not legal: expected the path of a file, or null")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"languages": ["spa", "rsu"]}, "languages=rsu is not legal: expected one of spa, por.*did you mean 'rus'"),
        ({"languages": ["spa"]}, "languages=.*expected a list of at least 2 languages.*one class"),
        ({"languages": []}, "a list of at least 2"),
        ({"languages": "spa"}, "a list of at least 2"),
        ({"languages": ["spa", "rus", "spa"]}, r"expected different languages \(spa occurs twice\)"),
        ({"languages": ["spa", 3], "source": "files"}, "codes of languages"),
        (
            {"test_sentences": 20},
            "test_sentences=20 is not legal: expected a whole number of at least 1 and at most 19",
        ),
        ({"test_sentences": 0}, "test_sentences=0"),
        ({"sentences": 1}, "sentences=1"),
        ({"max_length": 2}, "max_length=2 is not legal: expected a whole number of at least 3"),
        ({"vocabulary": 4}, "vocabulary=4"),
        ({"source": "file"}, "source=file is not legal: expected one of synthetic, files; did you mean 'files'"),
        ({"data_dir": ""}, "data_dir="),
        ({"shuffle": "yes"}, "shuffle=yes"),
    ],
)
def test_settings_that_are_wrong(changes, says):
    with pytest.raises(ConfigError, match=says):
        small(**changes)


def test_folders_that_do_not_fit(folder, tmp_path):
    def reading(place=folder, **changes):
        return lambda: LanguageReshuffle(**{**FILES, **changes}, data_dir=str(place)).spec

    def copied(name):
        (tmp_path / name).mkdir()
        for file in folder.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
        return tmp_path / name

    refused(
        reading(tmp_path), "there is no", "train.tsv: lop-prepare tatoeba makes", "task.source=synthetic needs none"
    )
    refused(
        reading(languages=["spa", "rum"]), "task.languages=rum is not legal: expected one of cmn, rus, spa", "'rus'"
    )
    refused(reading(sentences=21), "task.sentences=21 is not legal: expected at most 20, as", "has 14 sentences of spa")
    refused(reading(sentences=20, test_sentences=7), "task.test_sentences=7 is not legal: expected at most 6", "of spa")
    refused(reading(vocabulary=119), "task.vocabulary=119 is not legal: expected at least 120, the tokens of", "json")
    reading(vocabulary=5000)()
    changed = copied("changed")
    tokens.train(["some other text some other text"], 30).save(str(changed / folders.TOKENIZER))
    refused(reading(changed), "the tokeniser was changed after the folder was made", "manifest.json says 120")
    damaged = copied("damaged")
    for content in ("{", "[]", json.dumps({"seed": 0})):
        (damaged / folders.MANIFEST).write_text(content)
        refused(reading(damaged), "manifest.json is damaged")
    (damaged / folders.MANIFEST).unlink()
    refused(reading(damaged), "there is no", "manifest.json")
    (damaged / folders.TOKENIZER).unlink()
    refused(reading(damaged), "there is no tokeniser")
    (damaged / folders.TEST).write_bytes("7\trus\tда\n8\tspa\tmañana\n".encode("latin-1", errors="replace"))
    refused(reading(damaged), "test.tsv, line 2: is not in UTF-8")
