"""The folder a report writes into: it overwrites what an earlier report made, and nothing else."""

from __future__ import annotations

from pathlib import Path

MANIFEST = ".lop-report"
"""Names of the files in the folder that a report made, one a line."""


class OutputFolder:
    """A folder with a list of the files that reports made in it; created when the first file is claimed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def claim(self, name: str) -> Path:
        """The path to write ``name`` to.

        The name is listed before the file is written, so that a report that was killed can be made again. Raises
        FileExistsError naming the file when it is there and no report made it, or is a link (in a stranger's run it may
        point anywhere), NotADirectoryError when the folder is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"{self.path}: is a file, no folder for a report")
        manifest, target = self.path / MANIFEST, self.path / name
        for path in (self.path, manifest, target):
            if path.is_symlink():
                raise FileExistsError(f"{path}: is a link, so it is not written to")
        made = manifest.read_text(encoding="utf-8").split("\n") if manifest.exists() else []
        if name in made:
            return target
        if target.exists():
            raise FileExistsError(f"{target}: exists and was not made by lop-report, so it is not overwritten")
        self.path.mkdir(parents=True, exist_ok=True)
        with manifest.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
        return target
