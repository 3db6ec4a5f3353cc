"""Results of analyses that are kept beside a run, and which networks an analysis looks at."""

import json

import numpy as np
import pandas as pd
import pytest
from memory_networks import curriculum_run

from lop_lightning.analysis.timescales.results import Results
from lop_lightning.analysis.timescales.studies import STUDIES, chosen_networks
from lop_lightning.errors import LopError
from lop_lightning.networks.leaky import LeakyNetwork

TABLE = pd.DataFrame({
    "unit": [0, 1, 2], "kind": ["unit", "a, b", "unit"], "tau": [1 / 3, np.nan, 1e-300],
    "excluded": [True, False, True],
})  # fmt: skip


class Counted:
    """Makes a table, and counts how often."""

    def __init__(self, table=TABLE):
        self.table, self.calls = table, 0

    def __call__(self):
        self.calls += 1
        return self.table.copy()


def broken():
    raise AssertionError("it was computed")


def test_what_was_computed_once_is_read_ever_after(tmp_path):
    results, make = Results(tmp_path, "tau", {"trials": 3}), Counted()
    first = results.get(7, 12, 600, make)
    assert first.columns.tolist() == ["seed", "N", "unit", "kind", "tau", "excluded"]
    assert first[["seed", "N"]].to_numpy().tolist() == [[7, 12]] * 3
    np.testing.assert_allclose(first["tau"], TABLE["tau"], rtol=1e-9)
    assert first["kind"].tolist() == TABLE["kind"].tolist()
    assert first["excluded"].tolist() == TABLE["excluded"].tolist()
    again = Results(tmp_path, "tau", {"trials": 3}).get(7, 12, 600, broken)
    pd.testing.assert_frame_equal(again, first, check_exact=True)
    assert make.calls == 1
    path = results.path(7, 12)
    assert path == results.folder / "seed-00007-N-00012.csv"
    assert path.read_text().splitlines()[:2] == ["# after 600 updates", "unit,kind,tau,excluded"]
    assert not list(tmp_path.rglob("*.part"))


def test_other_settings_and_other_studies_have_another_folder(tmp_path):
    one = Results(tmp_path, "ablate", {"count": 2, "mode": "unit"})
    assert one.folder.parent == tmp_path / "analysis" / "ablate"
    assert Results(tmp_path, "ablate", {"mode": "unit", "count": 2}).folder == one.folder  # whatever the order
    others = [("ablate", {"count": 3, "mode": "unit"}), ("ablate", {"count": 2}), ("ablate", {}),
              ("ablate", {"count": 2, "mode": "readout"}), ("perturb", {"count": 2, "mode": "unit"})]  # fmt: skip
    folders = {Results(tmp_path, *other).folder for other in others}
    assert len(folders) == len(others)
    assert one.folder not in folders
    one.get(0, 2, 5, Counted())
    assert json.loads((one.folder / "settings.json").read_text()) == {"count": 2, "mode": "unit"}
    make = Counted()
    Results(tmp_path, "ablate", {"count": 3, "mode": "unit"}).get(0, 2, 5, make)
    assert make.calls == 1


def test_of_a_network_that_was_trained_anew_it_is_computed_anew(tmp_path):
    results = Results(tmp_path, "tau", {})
    results.get(0, 2, 5, Counted())
    make = Counted(TABLE.assign(tau=9.0))
    assert results.get(0, 2, 15, make)["tau"].tolist() == [9, 9, 9]
    assert make.calls == 1
    assert results.path(0, 2).read_text().startswith("# after 15 updates\n")
    assert results.get(0, 2, 15, broken)["tau"].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    "content", [b"", b"# after 5 updates\n", b"unit,tau\n0,1.0\n", b"# after 5 updates\n\xff\xfe\n"]
)
def test_a_damaged_file_is_made_anew(tmp_path, content):
    results, make = Results(tmp_path, "tau", {}), Counted()
    results.folder.mkdir(parents=True)
    results.path(0, 2).write_bytes(content)
    assert len(results.get(0, 2, 5, make)) == 3
    assert make.calls == 1


def test_networks_are_kept_apart_and_a_failure_leaves_nothing(tmp_path):
    results = Results(tmp_path, "tau", {})
    results.get(0, 2, 5, Counted())
    for seed, n in ((0, 3), (1, 2)):
        with pytest.raises(AssertionError):
            results.get(seed, n, 5, broken)
        assert not results.path(seed, n).exists()


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "analysis").write_text("a file of somebody's")
    with pytest.raises(LopError, match=r"^cannot write .*seed-00000-N-00002\.csv: ") as caught:
        Results(tmp_path, "tau", {}).get(0, 2, 5, Counted())
    assert "\n" not in str(caught.value)
    assert (tmp_path / "analysis").read_text() == "a file of somebody's"


# ---- which networks

NETWORK = LeakyNetwork((9, 1), 2, hidden=2, ragged=True)


@pytest.fixture
def solved(tmp_path):
    """Makes a run directory in which seeds have solved these N."""

    def make(**seeds):
        kept = {(int(seed[1:]), 2, n): NETWORK for seed, ns in seeds.items() for n in (0, *ns)}
        return curriculum_run(tmp_path / "run", {}, kept)

    return make


def test_networks_that_are_looked_at_by_default(solved):
    run = solved(s0=range(2, 25), s3=range(2, 20), s4=range(2, 30))
    every = chosen_networks(run, "all", None, None)
    assert every == [(n, seed) for n in range(2, 30) for seed, last in ((0, 24), (3, 19), (4, 29)) if n <= last]
    assert chosen_networks(run, "last", None, None) == [(19, 0), (19, 3), (19, 4)]
    few = chosen_networks(run, "few", None, None)
    ns = list(dict.fromkeys(n for n, _ in few))
    assert (len(ns), ns[0], ns[-1]) == (6, 2, 19)
    assert set(np.diff(ns)) <= {3, 4}
    assert few == [(n, seed) for n in ns for seed in (0, 3, 4)]
    assert chosen_networks(run, "last", None, [4]) == [(29, 4)]
    assert chosen_networks(run, "last", [25, 3], [4, 0]) == [(25, 4), (3, 0), (3, 4)]


def test_where_there_are_few_all_are_looked_at(solved):
    assert chosen_networks(solved(s0=[2, 5, 9], s1=[2, 9]), "few", None, None) == [(2, 0), (2, 1), (9, 0), (9, 1)]


@pytest.mark.parametrize(
    ("ns", "seeds", "message"),
    [
        ([8], None, "no seed has solved N=8; solved were 2 to 5, 9, the nearest is 9"),
        ([5, 1], None, "no seed has solved N=1; solved were 2 to 5, 9, the nearest is 2"),
        ([9], [3], "no seed has solved N=9; solved were 2 to 5, the nearest is 5"),
        (None, [3, 8], "seed 8 has solved nothing; seeds that have are 3 to 4"),
        (None, [6], "seed 6 has solved nothing; seeds that have are 3 to 4"),
    ],
)
def test_networks_that_nobody_has(solved, ns, seeds, message):
    run = solved(s3=[2, 3, 4, 5], s4=[3, 9], s6=[])
    with pytest.raises(LopError) as caught:
        chosen_networks(run, "all", ns, seeds)
    assert str(caught.value) == f"{run}: {message}"


def test_no_n_that_all_have_solved_and_none_at_all(solved, tmp_path):
    run = solved(s0=[2, 4], s1=[3, 5])
    assert len(chosen_networks(run, "all", None, None)) == 4
    for which in ("few", "last"):
        with pytest.raises(LopError, match=r"no N was solved by all seeds; say which to look at with --n$"):
            chosen_networks(run, which, None, None)
    with pytest.raises(LopError, match="has solved nothing: an analysis needs a run of task=parity or task=dms"):
        chosen_networks(tmp_path / "other", "all", None, None)


def test_studies_of_one_simulation_share_its_results():
    assert STUDIES["network"].kept_as == STUDIES["dimension"].kept_as
    assert STUDIES["network"].options == STUDIES["dimension"].options
    names = [study.kept_as for name, study in STUDIES.items() if name != "dimension"]
    assert len(set(names)) == len(names)
