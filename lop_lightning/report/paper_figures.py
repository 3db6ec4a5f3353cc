"""The figures of published papers, as data: what is drawn, against what, in which bins and units.

Source: Dohare et al. 2024, "Loss of plasticity in deep continual learning", and the plot scripts of its code.
"""

from __future__ import annotations

from dataclasses import dataclass

Limits = tuple[float, float]


@dataclass(frozen=True)
class PaperFigure:
    """One figure.

    ``metrics``: the first of them that a run recorded is drawn. ``layers``: averaged over the hidden layers, else the
    whole network's. ``over``: rule for a task of several rows (None: the metric's own). ``bin``: tasks to a point;
    ``bin_updates``: updates to a point, where runs differ in the length of their tasks; it is drawn only then.
    ``x``: ``task``, ``update`` or ``classes``. ``unit``: ``1``, ``%`` (of a fraction) or ``% of width`` (of a number of
    directions; absolute where a run does not say how wide it is). ``against``: the method it is drawn relative to.
    ``horizontal``: a network whose run is drawn as its mean. ``limits``: vertical axes of the paper, the first that
    holds all lines is taken.
    """

    name: str
    title: str
    axis_label: str
    metrics: tuple[str, ...]
    layers: bool = False
    over: str | None = None
    bin: int = 1
    bin_updates: int | None = None
    x: str = "task"
    unit: str = "1"
    against: str | None = None
    horizontal: str | None = None
    limits: tuple[Limits, ...] = ()


ACCURACY, RANK = "accuracy (%)", "% of width"

REGRESSION = (
    PaperFigure(
        "online_performance", "Online performance", "squared error", ("online_loss",),
        x="update", bin=2, limits=((0.4, 1.2), (0.6, 1.4)),
    ),
)  # fmt: skip

PERMUTED_MNIST = (
    PaperFigure(
        "accuracy", "Online accuracy", ACCURACY, ("online_accuracy",), unit="%", limits=((91, 96), (88, 96)),
    ),
    PaperFigure(
        "rate_of_change", "Online accuracy at several rates of change", ACCURACY, ("online_accuracy",),
        unit="%", x="update", bin_updates=1_000_000,
    ),
    PaperFigure(
        "weight_magnitude", "Weight magnitude", "mean |w|", ("start_weight_magnitude", "weight_magnitude"),
        limits=((0, 0.1),),
    ),
    PaperFigure(
        "dead_units", "Dead units, mean over layers", "% of units", ("start_dead_units", "dead_units"),
        layers=True, unit="%", limits=((0, 30), (0, 50)),
    ),
    PaperFigure(
        "effective_rank", "Effective rank, mean over layers", RANK, ("start_effective_rank", "effective_rank"),
        layers=True, unit=RANK, limits=((0, 50),),
    ),
)  # fmt: skip

CONTINUAL_IMAGENET = (
    PaperFigure(
        "test_accuracy", "Test accuracy after the last epoch", ACCURACY, ("test_accuracy",),
        over="last", bin=50, unit="%", horizontal="linear", limits=((82, 92), (70, 90)),
    ),
)  # fmt: skip

INCREMENTAL_CIFAR = (
    PaperFigure(
        "relative_accuracy", "Relative accuracy", "difference (percentage points)", ("test_accuracy",),
        over="max", x="classes", unit="%", against="retrain",
    ),
    PaperFigure(
        "test_accuracy", "Test accuracy, best epoch", ACCURACY, ("test_accuracy",), over="max", x="classes", unit="%",
    ),
    PaperFigure("test_loss", "Test loss, best epoch", "loss", ("test_loss",), over="min", x="classes"),
    PaperFigure(
        "dormant_units_next", "Dormant units, on the next classes", "% of units", ("next_rarely_active_units",),
        x="classes", unit="%",
    ),
    PaperFigure(
        "dormant_units_previous", "Dormant units, on all earlier classes", "% of units",
        ("previous_rarely_active_units",), x="classes", unit="%",
    ),
    PaperFigure(
        "effective_rank_next", "Effective rank, on the next classes", RANK, ("next_effective_rank",),
        x="classes", unit=RANK,
    ),
    PaperFigure(
        "effective_rank_previous", "Effective rank, on all earlier classes", RANK, ("previous_effective_rank",),
        x="classes", unit=RANK,
    ),
    PaperFigure(
        "stable_rank_next", "srank 99 % (the paper's stable rank), next classes", RANK, ("next_srank_99",),
        x="classes", unit=RANK,
    ),
    PaperFigure(
        "stable_rank_previous", "srank 99 % (the paper's stable rank), all earlier classes", RANK,
        ("previous_srank_99",), x="classes", unit=RANK,
    ),
    PaperFigure("weight_magnitude", "Weight magnitude", "mean |w|", ("weight_magnitude",), x="classes"),
)  # fmt: skip

PAPERS: dict[str, dict[str, tuple[PaperFigure, ...]]] = {
    "dohare2024": {
        "slowly_changing_regression": REGRESSION,
        "permuted_images": PERMUTED_MNIST,
        "continual_imagenet": CONTINUAL_IMAGENET,
        "incremental_cifar": INCREMENTAL_CIFAR,
    },
}
"""Paper -> name of the task -> its figures."""


def reference_of(paper: str, task: str) -> str | None:
    """The method that a paper compares the others with on a task, if it has one."""
    return next((figure.against for figure in PAPERS[paper].get(task, ()) if figure.against), None)
