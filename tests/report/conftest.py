import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))  # the synthetic runs are shared with tests/analysis
from synthetic_runs import write_run

from lop_lightning.analysis.runs import read_run


@pytest.fixture
def make_run(tmp_path):
    """Write a synthetic run below ``tmp_path / "runs"`` and read it."""
    return lambda *args, **kwargs: read_run(write_run(tmp_path / "runs", *args, **kwargs))
