"""Where the numbers of a run come from: for each session the command, code, packages, machine and settings."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import torch

import lop_lightning
from lop_lightning.records.files import write_atomically
from lop_lightning.records.repository import repository

SESSIONS = "sessions.jsonl"
"""One line a session, beside the configuration."""
FOLDER = "provenance"
"""Patches and lists of packages, each content once, named by its hash."""
_PACKAGE = Path(lop_lightning.__file__).resolve().parent


def write_session(directory: Path, config: dict[str, Any]) -> None:
    """Adds the line of this session to ``sessions.jsonl``, and what it refers to to ``provenance/``.

    Args:
        directory: The run directory.
        config: The resolved configuration; of it the seeds and the hardware are repeated, which may differ from those
            of the session that wrote ``config.yaml``.
    """
    code, project = repository(_PACKAGE, "__init__.py"), repository(Path.cwd())
    session = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "folder": str(Path.cwd()),
        **machine(),
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "seeds": config.get("seeds"),
        "hardware": config.get("hardware"),
        "versions": main_versions(),
        "packages": _kept(directory, "\n".join(f"{k}=={v}" for k, v in packages().items()) + "\n", "txt"),
        "fingerprint": loaded_fingerprint(),
        "git": code.commit,
        "changed": code.changed,
        "untracked": list(code.untracked),
        "patch": _kept(directory, code.patch, "patch"),
        "cut": code.cut,
    }
    if project.root and project.root != code.root:  # methods of one's own, in a repository of one's own
        patch = _kept(directory, project.patch, "patch")
        session["project"] = {"folder": project.root, "git": project.commit, "changed": project.changed, "patch": patch}
    with (directory / SESSIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(session) + "\n")


def sessions(directory: Path) -> list[dict[str, Any]]:
    """The sessions of a run, the first first; lines that cannot be read are left out."""
    try:
        lines = (directory / SESSIONS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines:
        try:
            session = json.loads(line)
        except ValueError:
            continue
        if isinstance(session, dict):
            found.append(session)
    return found


def code_fingerprint() -> str:
    """Sixteen hex digits: a hash of the library's Python files and configurations as they are on disk now.

    For jobs that wait: taken when a job is submitted, and given to :func:`code_warning` when it starts.
    """
    inside = _PACKAGE / "conf"
    conf = inside if (inside / "config.yaml").exists() else _PACKAGE.parent / "conf"
    digest = hashlib.sha256()
    for root, pattern in ((_PACKAGE, "*.py"), (conf, "*.yaml")):
        for path in sorted(root.rglob(pattern)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


def code_warning(submitted: str) -> str:
    """One line when the code on disk is not the code that had this fingerprint, else nothing.

    Args:
        submitted: :func:`code_fingerprint` when the job was submitted.
    """
    now = code_fingerprint()
    if now == submitted:
        return ""
    return f"the code has changed since this job was submitted ({submitted}, now {now}): it runs what is there now"


@cache
def loaded_fingerprint() -> str:
    """:func:`code_fingerprint` when this process first asked: of the code that it has loaded."""
    return code_fingerprint()


@cache
def packages() -> dict[str, str]:
    """Every installed package and its version, by name."""
    found = {str(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def main_versions() -> dict[str, str]:
    """Versions of Python, this library and what the numbers depend on most."""
    versions = {"lop_lightning": lop_lightning.__version__, "python": platform.python_version()}
    for package in ("torch", "lightning", "hydra-core", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "?"
    return versions


@cache
def machine() -> dict[str, Any]:
    """Host, system, processor, number of cores that may be used, and GPUs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": cores,
        "gpus": gpus,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _kept(directory: Path, text: str, kind: str) -> str:
    """Where the text is, relative to the run directory; nothing for no text."""
    if not text.strip():
        return ""
    name = f"{FOLDER}/{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}.{kind}"
    if not (directory / name).exists():
        (directory / FOLDER).mkdir(exist_ok=True)
        write_atomically(directory / name, text)
    return name
