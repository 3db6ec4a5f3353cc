"""Whether two runs are the same, bit for bit: their records, what was saved of their networks, and the rest of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lop_lightning.records.checkpoint_io import read_checkpoint, read_tensors


def differences(first: Path, second: Path) -> list[str]:
    """One line for the record, the last checkpoint and every file of kept networks that is not the same in two runs.

    Bytes are compared, so that two NaN of the same bits are the same, and 0 and -0 are not.

    Raises:
        RunError: a file of tensors is damaged.
    """
    found = list(_records(first / "record.csv", second / "record.csv"))
    last = [max((run / "checkpoints").glob("*.ckpt"), default=None) for run in (first, second)]
    if last[0] is None or last[1] is None:
        found.append("the last checkpoint is not there, so networks could not be compared")
    elif last[0].name != last[1].name:
        found.append(f"the last checkpoint is {last[0].name}, and {last[1].name}")
    else:
        saved = [read_checkpoint(path)["learner"] for path in last if path is not None]
        found += _summary("networks and optimisers in the last checkpoint", saved[0], saved[1])
    kept = [{path.name for path in (run / "networks").glob("*.pt")} for run in (first, second)]
    for name in sorted(kept[0] ^ kept[1]):
        found.append(f"only one of them has networks/{name}")
    for name in sorted(kept[0] & kept[1]):
        saved = [read_tensors(run / "networks" / name, "tensors") for run in (first, second)]
        found += _summary(f"networks/{name}", saved[0]["tensors"], saved[1]["tensors"])
    return found


def _records(first: Path, second: Path) -> Iterator[str]:
    texts = [path.read_bytes() if path.is_file() else b"" for path in (first, second)]
    if texts[0] == texts[1]:
        return
    rows = list(zip_longest(*(text.decode(errors="replace").splitlines() for text in texts), fillvalue="no row"))
    differing = [i for i, (one, other) in enumerate(rows) if one != other]
    first_row = f"the first is row {differing[0]}: {' and '.join(rows[differing[0]])}" if differing else "line ends"
    yield f"record.csv differs in {len(differing)} of {len(rows) - 1} rows; {first_row}"


def _summary(what: str, first: Any, second: Any) -> Iterator[str]:
    apart = list(_apart(first, second, ""))
    if apart:
        size = max(distance for _, distance in apart)
        yield f"{what} differ in {len(apart)} places, as {apart[0][0].lstrip('.')}; largest difference {size:.3g}"


def _apart(first: Any, second: Any, path: str) -> Iterator[tuple[str, float]]:
    """(place, largest difference) of what is not the same in two trees of containers, tensors and plain values."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in dict.fromkeys([*first, *second]):
            if key in first and key in second:
                yield from _apart(first[key], second[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}", float("nan")
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for i, (one, other) in enumerate(zip(first, second)):
            yield from _apart(one, other, f"{path}.{i}")
    elif isinstance(first, Tensor) and isinstance(second, Tensor):
        if first.shape != second.shape or first.dtype != second.dtype:
            yield path, float("nan")
        elif not torch.equal(_bits(first), _bits(second)):
            yield path, float((first.double() - second.double()).abs().max())
    elif first != second and not (first != first and second != second):
        yield path, float("nan")


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)
