"""How a metric is called on an axis, in which unit, and on which scale it is drawn."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

NAMES = {
    "online_accuracy": ("Online accuracy", "fraction correct"),
    "online_loss": ("Online loss", "loss before the update"),
    "initial_loss": ("Loss before the task's first update", "loss"),
    "min_loss": ("Smallest loss within the task", "loss"),
    "final_loss": ("Loss before the task's last update", "loss"),
    "post_loss": ("Probe loss after the task", "loss"),
    "post_accuracy": ("Probe accuracy after the task", "fraction correct"),
    "val_loss": ("Validation loss", "loss"),
    "val_accuracy": ("Validation accuracy", "fraction correct"),
    "validation_loss": ("Validation loss", "loss"),
    "validation_accuracy": ("Validation accuracy", "fraction correct"),
    "test_loss": ("Test loss", "loss"),
    "test_accuracy": ("Test accuracy", "fraction correct"),
    "test_class_accuracy": ("Test accuracy of single classes", "fraction correct"),
    "lowest_n": ("Smallest N trained", "N"),
    "highest_n": ("Largest N trained", "N"),
    "solved_n": ("Largest N solved so far", "N"),
    "heads": ("Readouts trained", "heads"),
    "check_accuracy": ("Accuracy at the test, mean over what is asked", "fraction correct"),
    "trained_r": ("Repeat interval R trained", "R"),
    "solved_r": ("Largest R solved so far", "R"),
    "streak": ("Movies in a row that were right", "movies"),
    "solved_after": ("Updates on R until it was solved", "updates"),
    "capped": ("Given up", "0 or 1"),
    "true_positive_rate": ("Familiar scenes called familiar", "fraction of familiar scenes"),
    "false_positive_rate": ("Novel scenes called familiar", "fraction of novel scenes"),
    "decay": ("Decay of the plastic matrix", "λ"),
    "eta_mean": ("Plastic learning rate, mean", "η"),
    "eta_std": ("Plastic learning rate, standard deviation", "η"),
    "eta_norm": ("Plastic learning rate, norm", "‖η‖₂"),
    "gradient_norm": ("Gradient norm", "‖∂L/∂W‖₂"),
    "weight_magnitude": ("Weight magnitude", "mean |w|"),
    "weight_norm": ("Weight norm", "‖W‖₂"),
    "distance_from_initialisation": ("Distance from initialisation", "‖θ − θ₀‖₂"),
    "update_size": ("Update size", "update size"),
    "dead_units": ("Dead units", "fraction of units"),
    "frozen_units": ("Frozen units", "fraction of units"),
    "rarely_active_units": ("Rarely active units", "fraction of units"),
    "feature_duplication": ("Duplicated features", "fraction of units"),
    "effective_rank": ("Effective rank", "effective rank"),
    "covariance_effective_rank": ("Covariance effective rank", "effective rank"),
    "preactivation_covariance_rank": ("Covariance rank of pre-activations", "effective rank"),
    "stable_rank": ("Stable rank", "‖H‖²F / σ₁²"),
    "participation_ratio": ("Participation ratio", "dimensions"),
    "state_gradient_norm": ("Gradient of the loss by the hidden state", "‖∂L/∂hₜ‖₂"),
    "recurrent_spectral_radius": ("Spectral radius of the recurrent Jacobian", "ρ(∂sₜ/∂sₜ₋₁)"),
    **{
        f"{gate}_gate_{state}": (f"{gate.capitalize()} gate {state} ({bound})", "fraction of activations")
        for gate in ("input", "forget", "output", "reset", "update")
        for state, bound in (("closed", "< 0.1"), ("open", "> 0.9"))
    },
}
"""Metric -> (heading, axis label with the unit)."""
FAMILIES = {
    "dormant_units_": ("Dormant units, τ = {}", "fraction of units"),
    "saturation_": ("Saturation, |z| > {}", "fraction of activations"),
    "srank_": ("srank, {} % of Σσ", "rank"),
    "approximate_rank_": ("Approximate rank, {} % of Σσ²", "rank"),
}
PLACES = {
    "next_": "{}, next task's data before learning it",
    "previous_": "{}, data of all earlier tasks",
    "start_": "{}, new task before learning it",
}
"""Prefix -> where the rest of the name was measured."""
FRACTIONS = (
    "accuracy",
    "dead_units",
    "dormant_units",
    "rarely_active_units",
    "saturation",
    "frozen_units",
    "feature_duplication",
    "gate_closed",
    "gate_open",
    "positive_rate",
)
DECADES_SPAN = 30.0
"""A positive metric whose seed mean spans more than this ratio over the stream gets a logarithmic axis."""


def title(metric: str) -> str:
    """A metric's heading; an unknown metric is its own name with spaces for underscores."""
    return _names(metric)[0]


def axis_label(metric: str) -> str:
    """What stands at the axis: the metric's unit."""
    return _names(metric)[1]


def is_fraction(metric: str) -> bool:
    """Whether a metric lies between 0 and 1 by its definition."""
    return any(word in metric for word in FRACTIONS)


def wants_log(metric: str, tables: Iterable[pd.DataFrame]) -> bool:
    """Whether seeds × tasks tables of a metric need a logarithmic axis.

    True when the metric is no fraction, nine tenths of its finite values are positive, and the positive medians over
    seeds span a ratio of more than :data:`DECADES_SPAN`.
    """
    if is_fraction(metric):
        return False
    arrays = [table.to_numpy() for table in tables]
    values = np.concatenate([array.reshape(-1) for array in arrays])
    values = values[np.isfinite(values)]
    if len(values) == 0 or (values > 0).mean() < 0.9:
        return False
    typical = np.concatenate([np.nanmedian(a, axis=0) for a in arrays if np.isfinite(a).any(axis=0).all()] or [values])
    typical = typical[np.isfinite(typical) & (typical > 0)]
    return len(typical) > 1 and bool(typical.max() / typical.min() > DECADES_SPAN)


def _names(metric: str) -> tuple[str, str]:
    if metric in NAMES:
        return NAMES[metric]
    for prefix, (heading, label) in FAMILIES.items():
        if metric.startswith(prefix):
            return heading.format(metric.removeprefix(prefix)), label
    for prefix, place in PLACES.items():
        if metric.startswith(prefix):
            heading, label = _names(metric.removeprefix(prefix))
            return place.format(heading), label
    words = metric.replace("_", " ")
    return words[:1].upper() + words[1:], words
