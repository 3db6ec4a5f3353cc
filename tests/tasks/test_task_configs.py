"""Every conf/task/*.yaml names a stream, says each of its settings once, and agrees with Python."""

import inspect
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_class, instantiate

from lop_lightning.tasks import TaskStream

FILES = sorted((Path(__file__).parents[2] / "conf" / "task").glob("*.yaml"))
GIVEN_BY_THE_PROGRAM = ["seeds", "chunk"]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_config_holds_the_defaults_of_the_constructor(file):
    config = yaml.safe_load(file.read_text())
    assert config.pop("name") == file.stem
    assert isinstance(instantiate(config), TaskStream)
    parameters = inspect.signature(get_class(config.pop("_target_"))).parameters
    assert [*config, *GIVEN_BY_THE_PROGRAM] == list(parameters)
    defaults = {name: parameters[name].default for name in config}
    assert config == {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_key_has_its_help(file):
    first, *lines = file.read_text().splitlines()
    assert first.startswith("# ")
    assert all(" # " in line for line in lines if not line.startswith(("name:", "_target_:")))
