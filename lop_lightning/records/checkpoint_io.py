"""Checkpoint files: written atomically, read without executing anything, and checked before they are believed."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lop_lightning.errors import RunError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, except that a file is either whole or not there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """See :func:`write_tensors`."""
        write_tensors(Path(path), checkpoint)


def write_tensors(target: Path, content: dict[str, Any]) -> None:
    """Writes beside the place, waits for the disk, then renames.

    Raises:
        RunError: the disk is full or the file cannot be written; earlier files are untouched.
    """
    beside = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except (OSError, RuntimeError) as error:  # torch may cover a full disk with an error of its own
        beside.unlink(missing_ok=True)
        known = next((one for one in (error, error.__context__) if isinstance(one, OSError)), None)
        reason = known.strerror if known else str(error).splitlines()[0]
        raise RunError(f"cannot write the checkpoint {target}: {reason}; the earlier ones are untouched") from error


def read_tensors(path: Path, *keys: str) -> dict[str, Any]:
    """A file of tensors and plain containers that has these keys.

    Raises:
        RunError: the file is damaged, or is something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if spoilt := archive.testzip():  # torch.load would not notice a changed byte
                raise zipfile.BadZipFile(f"the checksum of {spoilt} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise RunError(f"{path} is damaged or no checkpoint ({reason})") from error
    if not isinstance(checkpoint, dict) or not set(keys) <= set(checkpoint):
        raise RunError(f"{path} is no checkpoint of lop_lightning")
    return checkpoint


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of this library; see :func:`read_tensors`."""
    return read_tensors(path, "learner", "run")


def latest_checkpoint(directory: Path, run: str) -> tuple[Path | None, list[str]]:
    """The newest sound checkpoint in ``directory`` that belongs to ``run``, and what is wrong with newer ones.

    Raises:
        RunError: there are checkpoints and none can be used. Nothing is deleted.
    """
    complaints: list[str] = []
    for path in sorted(directory.glob("*.ckpt"), reverse=True):
        try:
            if (owner := read_checkpoint(path)["run"]) == run:
                return path, complaints
            complaints.append(f"{path} belongs to another run ({owner})")
        except RunError as error:
            complaints.append(str(error))
    if complaints:
        raise RunError(
            "; ".join(complaints) + f"; no sound checkpoint is left: move {directory.parent} away to start anew"
        )
    return None, complaints
