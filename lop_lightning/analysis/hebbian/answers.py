"""What a network says about scenes, and how often that is right."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lop_lightning.tasks.movies import Movies


@dataclass(frozen=True)
class Rates:
    """Shares of answers.

    Attributes:
        accuracy: Of all scenes, those that are rightly called.
        true_positive_rate: Of the familiar scenes, those that are called familiar; NaN where there is none.
        false_positive_rate: Of the novel scenes, those that are called familiar; NaN where there is none.
    """

    accuracy: float
    true_positive_rate: float
    false_positive_rate: float


def logits_of(output: Tensor, out_dim: int) -> Tensor:
    """Logit of "familiar" at each reading.

    Args:
        output: ``[B, K * out_dim]``, reading after reading.
        out_dim: 1: the output is the logit; 2: it is the second output (familiar) less the first (novel), so that its
            sign says which of the two is larger.

    Returns:
        ``[B, K]``.
    """
    return output if out_dim == 1 else output[:, 1::2] - output[:, ::2]


def called_familiar(logits: Tensor, out_dim: int) -> Tensor:
    """Which readings say "familiar", as training counts them: one logit from 0 on, or the larger of two outputs.

    NaN says "novel".
    """
    return logits >= 0 if out_dim == 1 else logits > 0


def rates(called: Tensor, labels: Tensor) -> Rates:
    """Rates over all scenes, but for padding.

    Args:
        called: Which scenes are called familiar, bool of any shape.
        labels: 1 familiar, 0 novel, -1 padding, of the same shape.
    """
    familiar, novel = labels == 1, labels == 0
    hits, alarms = int((called & familiar).sum()), int((called & novel).sum())
    positives, negatives = int(familiar.sum()), int(novel.sum())
    return Rates(
        accuracy=_share(hits + negatives - alarms, positives + negatives),
        true_positive_rate=_share(hits, positives),
        false_positive_rate=_share(alarms, negatives),
    )


def chance(movies: Movies) -> float:
    """Share of right answers, in long movies, of whoever always gives the one that is right more often.

    >>> round(chance(Movies()), 3), chance(Movies(repeat_prob=0.25, allow_multi_repeat=True))
    (0.667, 0.75)
    """
    return max(movies.familiar_share, 1 - movies.familiar_share)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
