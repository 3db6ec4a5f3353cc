"""Fresh reference networks learn what they would learn alone, and the run does not notice."""

import pytest
import torch
from lab import METHODS, SMALL, STREAMS, TINY, configuration, interrupted, outcome, rows, run

from lop_lightning.experiment import prepare


def by_hand(settings, folder, tasks):
    """What new networks reach on some tasks: {(metric, seed, task): value}."""
    experiment = prepare(configuration(settings, folder))
    learner, found = experiment.learner, {}
    for task in tasks:
        population = learner.new_population("fresh", task)
        measures = torch.cat([learner.train_chunk(population, chunk) for chunk in experiment.stream.task_chunks(task)])
        probe = experiment.stream.stacked_probe(task)
        output = learner.trace(population, probe[0]).output
        for row, seed in enumerate(learner.seeds):
            found["fresh_online_loss", seed, task] = measures[:, row, 0].double().mean().item()
            found["fresh_min_loss", seed, task] = measures[:, row, 0].min().item()
            found["fresh_final_loss", seed, task] = measures[-1, row, 0].item()
            found["fresh_post_loss", seed, task] = learner.loss(output[row], probe[1][row]).item()
            if learner.spec.is_classification:
                found["fresh_online_accuracy", seed, task] = measures[:, row, 1].double().mean().item()
    return found


@pytest.mark.parametrize(
    ("stream", "method"), [("gmm", "shrink and perturb, task ends"), ("slowly_changing_regression", "cbp, by chance")]
)
def test_paired(stream, method, tmp_path):
    tasks = [0, 2]
    settings = (*SMALL, *STREAMS[stream], *METHODS[method])
    directory = run((*settings, "callbacks.fresh.mode=paired", "callbacks.fresh.count=2"), tmp_path)
    compare(directory, by_hand(settings, tmp_path, tasks), tasks)
    assert outcome(directory)[1:] == outcome(run(settings, tmp_path))[1:]


def test_late(tmp_path):
    settings = (*TINY, *METHODS["cbp, accumulating"])
    directory = run((*settings, "callbacks.fresh.mode=late", "callbacks.fresh.count=2"), tmp_path)
    compare(directory, by_hand(settings, tmp_path, [3, 4]), [3, 4])
    assert outcome(directory)[1:] == outcome(run(settings, tmp_path))[1:]


def compare(directory, expected, tasks):
    metrics = sorted({metric for metric, *_ in expected})
    for metric in metrics:
        for seed in (3, 1):
            found = rows(directory, metric, seed)
            assert [task for task, *_ in found] == tasks
            for task, *_, value in found:
                assert value == pytest.approx(expected[metric, seed, task], rel=1e-6)
    recorded = {line.split(",")[5] for line in directory.record.read_text().splitlines()}
    share = {"fresh_post_accuracy"} if "fresh_online_accuracy" in metrics else set()
    assert {name for name in recorded if name.startswith("fresh_")} == {*metrics, *share}


def test_it_is_another_network_each_time(tmp_path):
    directory = run((*TINY, "callbacks.fresh.mode=paired"), tmp_path)
    first, later = rows(directory, "fresh_post_loss", 3), rows(directory, "fresh_post_loss", 1)
    assert len({value for *_, value in first + later}) == 6
    assert first[0][-1] != rows(directory, "post_loss", 3)[0][-1]


def test_cut_and_continued(tmp_path):
    settings = (*TINY, "callbacks.fresh.mode=paired", "callbacks.checkpoint.every_updates=9")
    straight = outcome(run(settings, tmp_path / "straight"))
    assert outcome(interrupted(settings, tmp_path / "cut", (12, 16, 36))) == straight
