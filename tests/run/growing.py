"""A run on a growing stream, watched from outside, for the tests of what is done within and between tasks."""

import lightning as L
from lab import IMAGE_METHODS, IMAGES

CIFAR = (*IMAGES["incremental_cifar"], *IMAGE_METHODS["retrain"])
SEEDS, EPOCHS, UPDATES = [3, 1], 3, [6, 12]


class Watch(L.Callback):
    """Copies of the networks before tasks and after epochs, before any other callback acts; and all measures."""

    def __init__(self):
        self.before, self.epochs, self.measures = [], [], []

    def on_train_batch_start(self, trainer, learner, batch, *rest):
        if batch.starts_task:
            self.before.append(copied(learner))

    def on_train_batch_end(self, trainer, learner, outputs, batch, *rest):
        self.measures.append(outputs["measures"].double())
        if batch.ends_epoch:
            self.epochs.append(copied(learner))

    def on_train_end(self, trainer, learner):
        self.before.append(copied(learner))
        self.learner = learner


def copied(learner):
    return {name: t.clone() for name, t in learner.population.tensors.items()}


def lines(path):
    """The rows of a record, as they are written."""
    return [line.split(",") for line in path.read_text().splitlines()[1:]]
