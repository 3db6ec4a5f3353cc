"""Labels against the published code's values, and against the definition in words, sequence by sequence."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lop_lightning.tasks.bit_sequences import BitSequences
from lop_lightning.tasks.memory_labels import dms_labels, parity_in_time, parity_labels, streaming_labels

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "timescales_tasks.json").read_text())
LABELS = {"parity": parity_labels, "dms": dms_labels}


def by_hand(task, bits, n):
    last = bits[-n:]
    return sum(last) % 2 if task == "parity" else int(last[0] == bits[-1])


def reference_batch(case, task):
    """The published generator's order of draws: a length, then bit after bit a sequence and its probability."""
    low = case["Ns"][-1] + 2
    np.random.seed(case["np_seed"])  # noqa: NPY002
    torch.manual_seed(case["torch_seed"])
    length = int(np.random.randint(low, low + 3 * case["Ns"][-1]))  # noqa: NPY002
    drawn = []
    for _ in range(case["bs"]):
        numbers = torch.rand(length)
        drawn.append(numbers < (torch.rand(1) if task == "parity" else 0.5))
    return torch.stack(drawn).to(torch.uint8)


@pytest.mark.parametrize("task", LABELS)
def test_published_labels(task):
    golden = GOLDEN["labels"]
    bits = torch.tensor(golden["sequence_batch_first"], dtype=torch.uint8)
    labels = LABELS[task](bits, golden["Ns"])
    assert labels.dtype == torch.int64
    assert labels.T.tolist() == golden[f"{task}[head][batch]"]


def test_published_labels_in_time():
    golden = GOLDEN["labels"]
    bits = torch.tensor(golden["sequence_batch_first"], dtype=torch.uint8)
    (in_time,) = (value for name, value in golden.items() if name.startswith("parity_in_time"))
    assert {n: parity_in_time(bits, int(n)).tolist() for n in in_time} == in_time


@pytest.mark.parametrize("task", LABELS)
def test_published_streaming_labels(task):
    golden = GOLDEN["streaming_accuracy_labels"]
    n, warmup = golden["N"], golden["warmup"]
    labels = streaming_labels(torch.tensor(golden["input"]), n, task)
    assert labels[warmup - n + 1 :].tolist() == golden[f"{task}_labels_from_t=warmup"]


@pytest.mark.parametrize("task", LABELS)
def test_batches_of_the_published_generator(task):
    golden = GOLDEN[f"reference_rng_batch_{task}"]
    bits = reference_batch(golden, task)
    assert bits.T.tolist() == golden["sequences_TB"]
    assert LABELS[task](bits, golden["Ns"]).T.tolist() == golden["labels[head][batch]"]
    plain = BitSequences("zero_one", 0.5, ()).inputs([[bits]], [0])[0, 0]
    assert [*plain.transpose(0, 1).shape] == golden["shape_time_first"]


def test_repeated_bits_of_the_published_generator():
    golden = GOLDEN["reference_rng_batch_parity_duplicate3"]
    bits = reference_batch(golden, "parity")
    assert parity_labels(bits, golden["Ns"]).T.tolist() == golden["labels[head][batch]"]
    inputs = BitSequences("zero_one", "uniform", [3]).inputs([[bits]], [0])[0, 0]
    assert inputs[..., 0].T.tolist() == golden["sequences_TB"]
    assert inputs[..., 1].unique().tolist() == pytest.approx([1 / 3])


def test_plus_minus_of_the_published_lstm():
    golden = GOLDEN["lstm_pm1_parity"]
    bits = (torch.tensor(golden["sequence"]) > 0).to(torch.uint8)
    assert parity_labels(bits, golden["Ns"]).tolist() == golden["labels"]
    inputs = BitSequences("plus_minus", 0.5, ()).inputs([[bits[None]]], [0])
    assert inputs.flatten().tolist() == golden["sequence"]


@pytest.mark.parametrize("task", LABELS)
def test_random_bits_by_hand(task):
    bits = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (3, 5, 330), dtype=np.uint8))
    ns = [1, 2, 7, 100, 299, 330]  # more ones than a byte can count are among them
    bits[0, 0] = 1
    labels, streaming = LABELS[task](bits, ns), {n: streaming_labels(bits, n, task) for n in ns}
    for place in np.ndindex(3, 5):
        row = bits[place].tolist()
        assert labels[place].tolist() == [by_hand(task, row, n) for n in ns]
        assert streaming[7][place].tolist() == [by_hand(task, row[: t + 1], 7) for t in range(6, 330)]
        assert all(streaming[n][place][-1] == labels[place][k] for k, n in enumerate(ns))


def test_streaming_labels_of_an_unknown_task():
    with pytest.raises(ValueError, match="parity or dms"):
        streaming_labels(torch.zeros(5, dtype=torch.uint8), 2, "xor")
