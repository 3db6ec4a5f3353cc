"""What a person may get wrong of recurrent networks and their streams gets one line, and leaves nothing behind."""

import bz2

import pytest

from lop_lightning.tasks.language.synthetic import synthetic_sentences

LANGUAGE = "task=language_reshuffle model=gru task.languages=[spa,rus] task.sentences=12 task.test_sentences=4"
IMAGES = "task=label_reshuffled_images model=lstm"
BAD = {  # arguments → what the line must say
    f"{IMAGES} model.hidden=0": ["model.hidden=0", "at least 1"],
    f"{IMAGES} model.hidden=[5]": ["model.hidden=", "a whole number"],
    f"{IMAGES} model.layers=0": ["model.layers=0", "at least 1"],
    f"{IMAGES} model.readout=finale": ["model.readout=finale", "final, last_position", "did you mean 'final'?"],
    f"{IMAGES} model.pads=skip": ["model.pads=skip", "skipped, read"],
    f"{IMAGES} model.bidirectional=both": ["model.bidirectional=both", "true or false"],
    "task=permuted_images model=lstm": ["model.input_shape=[64]", "images [rows,columns]"],
    "task=language_reshuffle model=mlp": ["model: this network reads numbers", "model=lstm or model=gru"],
    f"{IMAGES} task.train_images=0": ["task.train_images=0", "at least 1"],
    f"{IMAGES} task.train_images=9999": ["task.train_images=9999", "at most"],
    f"{IMAGES} task.inputs=normal": ["task.inputs=normal", "did you mean 'normalised'?"],
    "task=binary_images model=gru task.pairs=[[3,3]]": ["task.pairs=[3, 3]", "two different classes"],
    "task=binary_images model=gru task.pairs=[[3,11]]": ["task.pairs=[3, 11]", "from 0 to 9"],
    "task=binary_images model=gru task.pairs=[]": ["task.pairs=[]"],
    "task=binary_images task.balanced=false": ["task.balanced=false", "pairs are drawn"],
    f"{LANGUAGE} task.languages=[spa]": ["task.languages=", "at least 2 languages"],
    f"{LANGUAGE} task.languages=[spa,rsu]": ["task.languages=rsu", "did you mean 'rus'?"],
    f"{LANGUAGE} task.languages=[spa,spa]": ["task.languages=", "spa occurs twice"],
    f"{LANGUAGE} task.test_sentences=12": ["task.test_sentences=12", "at most 11"],
    f"{LANGUAGE} task.max_length=2": ["task.max_length=2", "at least 3"],
    f"{LANGUAGE} task.source=files task.data_dir=nowhere": ["nowhere/train.tsv", "lop-prepare tatoeba"],
}


def refused(lop, arguments, *words):
    code, out, errors = lop(*arguments.split(), "seeds=1", "hardware.compile=false")
    assert (code, out) == (2, ""), errors
    assert errors.startswith("lop: ")
    assert errors.count("\n") == 1
    for word in words:
        assert word in errors


@pytest.mark.parametrize("arguments", BAD)
def test_one_line_says_what_is_wrong(lop, tmp_path, arguments):
    refused(lop, arguments, *BAD[arguments])
    assert not list(tmp_path.rglob("run.json"))


@pytest.fixture
def made(tmp_path):
    """A folder as ``lop-prepare tatoeba`` makes it, of 12 sentences a language."""
    from lop_lightning.prepare.main import main

    folder = tmp_path / "tatoeba"
    counts = ["--sentences", "12", "--test-sentences", "4", "--vocabulary", "60"]
    assert main(["tatoeba", "--synthetic", "--languages", "spa", "rus", *counts, "--out", str(folder)]) == 0
    return folder


def test_too_few_sentences(lop, made):
    wanted = f"{LANGUAGE} task.source=files task.data_dir={made} task.sentences=20"
    refused(lop, wanted, "task.sentences=20", "at most 12", "8 sentences of spa")


def test_another_encoding(lop, made):
    lines = (made / "train.tsv").read_text(encoding="utf-8")
    (made / "train.tsv").write_bytes(lines.encode("utf-16"))
    refused(lop, f"{LANGUAGE} task.source=files task.data_dir={made}", "train.tsv", "UTF-8")


def test_too_few_sentences_to_prepare(tmp_path, capsys):
    from lop_lightning.prepare.main import main

    export = tmp_path / "spa_sentences.tsv.bz2"
    lines = [f"{number}\tspa\t{one.text}" for number, one in enumerate(synthetic_sentences("spa", 5))]
    export.write_bytes(bz2.compress("\n".join(lines).encode()))
    with pytest.raises(SystemExit) as stopped:
        main(["tatoeba", "--exports", str(export), "--languages", "spa", "deu", "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "spa" in errors
    assert "5" in errors
    assert not (tmp_path / "out").exists()


def test_sentences_longer_than_the_maximum_are_told_of(lop):
    shortened = f"{LANGUAGE} task.max_length=4 task.tasks=2 task.epochs_per_task=1 task.vocabulary=60 model.hidden=3"
    code, _, errors = lop(*shortened.split(), "seeds=1", "hardware.compile=false", "callbacks.progress.enabled=false")
    assert code == 0
    assert "lop: task.max_length=4: " in errors
    assert "% of the sentences have more tokens and lose what is beyond\n" in errors
