"""The loss of sequences with a reading after every scene, and what is measured of each: by hand, with padding."""

import math

import pytest
import torch

from lop_lightning.algos.losses import accuracy, measures, sequence_accuracies, sequence_cross_entropy

LOGITS = torch.tensor([[2.0, -1.0, 0.0], [1.0, 3.0, 9.0]], dtype=torch.float64)
LABELS = torch.tensor([[1, 1, 0], [0, 1, -1]])


def softplus(z):
    return math.log1p(math.exp(z))


def test_the_mean_is_over_all_readings_that_are_there():
    by_hand = (softplus(-2) + softplus(1) + softplus(0) + softplus(1) + softplus(-3)) / 5
    assert sequence_cross_entropy(LOGITS, LABELS).item() == pytest.approx(by_hand)


def test_a_logit_of_zero_says_familiar():
    assert sequence_accuracies(LOGITS, LABELS).tolist() == pytest.approx([1 / 3, 1 / 2])
    assert accuracy("sequence_cross_entropy", LOGITS, LABELS).item() == pytest.approx(2 / 5)


def test_padding_has_no_gradient():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sequence_cross_entropy(logits, LABELS), logits)
    assert gradient[1, 2] == 0
    assert gradient[0, 0].item() == pytest.approx((1 / (1 + math.exp(-2)) - 1) / 5)


def test_two_outputs_a_reading_are_classes():
    two = torch.stack([torch.zeros_like(LOGITS), LOGITS], -1).flatten(1)  # softmax of (0, z) is the logistic function
    assert sequence_cross_entropy(two, LABELS).item() == pytest.approx(sequence_cross_entropy(LOGITS, LABELS).item())
    one_wrong = LOGITS.clone()
    one_wrong[0, 2] = -0.1  # where both are equal, the first class is taken
    assert sequence_accuracies(two, LABELS).tolist() == sequence_accuracies(one_wrong, LABELS).tolist()


def test_measures_have_the_accuracy_of_each_sequence():
    loss = torch.tensor(0.25, dtype=torch.float64)
    found = measures("sequence_cross_entropy", loss, LOGITS, LABELS)
    assert found.tolist() == pytest.approx([0.25, 2 / 5, 1 / 3, 1 / 2])
    assert measures("cross_entropy", loss, LOGITS, torch.tensor([0, 2])).tolist() == [0.25, 1.0]
