"""What git knows of a folder: its commit, what was changed since, and what it does not know."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MOST_PATCH = 1_000_000
"""Bytes of a patch that are kept."""
MOST_UNTRACKED = 200
"""Names of untracked files that are kept."""
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color")  # nothing that the repository's own settings would start


@dataclass(frozen=True)
class Repository:
    """A repository at one moment; all fields are empty where there is none.

    Attributes:
        root: Its folder.
        commit: The commit that is checked out.
        changed: ``git status``, one line a changed file that git tracks.
        untracked: Files that git neither tracks nor ignores, the first :data:`MOST_UNTRACKED`.
        patch: What ``git apply`` makes this code of the commit with: ``git diff`` of the tracked files, then the
            untracked Python files whole; cut to :data:`MOST_PATCH` bytes.
        cut: Whether the patch or the list is not complete.
    """

    root: str = ""
    commit: str = ""
    changed: str = ""
    untracked: tuple[str, ...] = ()
    patch: str = ""
    cut: bool = False


@cache
def repository(folder: Path, tracked: str = "") -> Repository:
    """The repository that a folder lies in, as it was when this process first asked: the code that it has loaded.

    Args:
        folder: The folder.
        tracked: A file of the folder that git must track, else the repository is none of it (a virtual environment
            inside somebody's project).
    """
    root = git(folder, "rev-parse", "--show-toplevel").strip()
    if not root or (tracked and not git(folder, "ls-files", "--", tracked).strip()):
        return Repository()
    top = Path(root)
    patch = git(top, "diff", "HEAD", "--binary", *_PLAIN)
    untracked = [name for name in git(top, "ls-files", "--others", "--exclude-standard", "-z").split("\0") if name]
    patch += "".join(_new_file(top, name) for name in untracked if name.endswith(".py"))
    kept = patch.encode()[:MOST_PATCH].decode(errors="ignore")
    return Repository(
        root,
        git(top, "rev-parse", "HEAD").strip(),
        git(top, "status", "--porcelain", "--untracked-files=no").rstrip("\n"),
        tuple(untracked[:MOST_UNTRACKED]),
        kept,
        len(kept) < len(patch) or len(untracked) > MOST_UNTRACKED,
    )


def _new_file(root: Path, name: str) -> str:
    """The patch that makes a file which git does not know; nothing for one that is no text or no ordinary file."""
    path = root / name
    try:
        if path.is_symlink() or path.stat().st_size > MOST_PATCH:
            return ""
        text = path.read_bytes().decode()
    except (OSError, ValueError):
        return ""
    lines = text.split("\n")
    ends = lines[-1] == ""
    lines = lines[:-1] if ends else lines
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n"
    if not lines:
        return head
    last = "" if ends else "\\ No newline at end of file\n"
    body = "".join(f"+{line}\n" for line in lines)
    return f"{head}--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n{body}{last}"


def git(folder: Path, *command: str) -> str:
    """What a git command says; nothing where there is no git, no repository, or no answer within 10 s."""
    line = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotepath=false", *command]
    try:
        done = subprocess.run(line, cwd=folder, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
