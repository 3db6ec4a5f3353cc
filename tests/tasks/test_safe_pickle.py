import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from lop_lightning.errors import LopError
from lop_lightning.tasks.safe_pickle import safe_load, safe_loads

PLAIN = {
    b"data": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "mean": np.asfortranarray(np.linspace(0, 1, 6).reshape(2, 3)),
    "labels": [1, 2, (True, None, 2.5)],
    "ordered": OrderedDict(a={1, 2}, b=b"\xff\x00"),
    "number": np.float32(2.5),
    "names": np.array(["a", None], dtype=object),
}


class Runs:
    """What its pickle runs when it is read, had it its way: it makes a file."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers(tmp_path, protocol):
    path = tmp_path / "plain"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    loaded = safe_load(path)
    assert repr(loaded) == repr(PLAIN)
    assert loaded["mean"].dtype == np.float64
    assert np.array_equal(loaded["mean"], PLAIN["mean"])


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: {"data": [bad]}, lambda bad: np.array([bad, 1], object)])
def test_nothing_else_is_run(tmp_path, protocol, wrap):
    made = tmp_path / "made"
    for call, arguments in ((os.mkdir, (str(made),)), (Path.touch, (made,)), (eval, (f"open({str(made)!r}, 'w')",))):
        content = pickle.dumps(wrap(Runs(call, *arguments)), protocol)
        with pytest.raises(LopError, match="neither an array nor a plain container") as error:
            safe_loads(content, "some file")
        assert str(error.value).startswith("some file ")
        assert not made.exists()


@pytest.mark.parametrize("name", ["numpy\nload", "numpy.core.multiarray\nfromfile", "builtins\ngetattr", "os\nsystem"])
def test_names_that_are_not_allowed(name):
    with pytest.raises(LopError, match=name.replace("\n", ".")):
        safe_loads(f"c{name}\n.".encode(), "some file")


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404: not found</html>", pickle.dumps(PLAIN)[:-30], pickle.dumps(PLAIN)[:9], b"\x80\x04N0."],
)
def test_damage_is_one_line(tmp_path, content):
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(LopError) as error:
        safe_load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(LopError, match=f"^cannot read {tmp_path}/none: No such file"):
        safe_load(tmp_path / "none")
    with pytest.raises(LopError, match=f"^cannot read {tmp_path}: Is a directory"):
        safe_load(tmp_path)
