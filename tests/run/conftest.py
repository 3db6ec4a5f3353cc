import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # where the tests, and the processes they start, find lab.py


@pytest.fixture
def lop(monkeypatch, capsys, tmp_path):
    """``lop(*arguments)`` as on a command line: (exit code, output, errors); runs go to ``tmp_path``."""
    from lop_lightning import train

    def call(*arguments, runs_dir=tmp_path):
        place = [] if runs_dir is None else [f"runs_dir={runs_dir}"]
        monkeypatch.setattr("sys.argv", ["lop", *arguments, *place])
        capsys.readouterr()
        try:
            train.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def refusal(capsys):
    """``refusal(main, *arguments)`` -> the one line that a command says instead of doing anything."""

    def call(main, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        output, errors = capsys.readouterr()
        assert (stop.value.code, output, errors.count("\n")) == (2, "", 1), errors
        return errors

    return call


@pytest.fixture
def undrawn(monkeypatch):
    """Pictures are empty, and made at once."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda self, path, **settings: path.write_bytes(b""))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run on a growing stream: its directory, and who watched it."""
    from growing import CIFAR, Watch
    from lab import run

    watch = Watch()
    return run(CIFAR, tmp_path_factory.mktemp("done"), watch), watch
