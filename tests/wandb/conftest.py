import pytest
import wandb
from wandb.sdk.lib import wbauth


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine where nobody has an account, and where what W&B leaves at home would be seen."""
    home = tmp_path / "home"
    home.mkdir()
    for name in (
        "WANDB_API_KEY",
        "WANDB_MODE",
        "WANDB_DIR",
        "WANDB_SILENT",
        "XDG_CACHE_HOME",
        "XDG_DATA_HOME",
        "NETRC",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    wbauth.unauthenticate_session(update_settings=False)
    monkeypatch.setattr("lop_lightning.wandb_tools.logger.EVERY_SECONDS", 0.02)
    return home


@pytest.fixture
def address(monkeypatch):
    """``address(port)``: W&B is said to be there, and somebody to have an account."""

    def use(port):
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)

    wandb.teardown()  # it reads the environment once
    yield use
    wandb.teardown()
    wbauth.unauthenticate_session(update_settings=False)
