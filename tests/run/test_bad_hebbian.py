"""What a person may get wrong of plastic networks and their streams gets one line, and leaves nothing behind."""

import pytest
from test_bad_recurrent import refused

TWO = "task=scenes model=memo model.hidden_dims=[5,4]"
BAD = {  # arguments → what the line must say
    f"{TWO} model.hetero_rates=[1]": ["model.hetero_rates=[1]", "2 of them, one for each plastic layer of hidden_dims"],
    f"{TWO} model.plastic_types=[M,A,A]": ["model.plastic_types=", "2 of them"],
    f"{TWO} model.plastic_types=[M,B]": ["model.plastic_types=B", "M (multiplicative) or A (additive)"],
    f"{TWO} model.hetero_rates=[1,0.7]": ["model.hetero_rates=0.7", "1 or matrix, 0.5 or post, pre, 0 or scalar"],
    f"{TWO} model.truncation=-1": ["model.truncation=-1", "at least 0"],
    f"{TWO} model.scan=quick": ["model.scan=quick", "fast, reference"],
    f"{TWO} task.scenes=20 task.start_r=20": ["task.start_r=20", "less than scenes=20"],
    f"{TWO} task.VAR=1.5": ["task.VAR=1.5", "a number in [0, 1]"],
    f"{TWO} task.VAR=-0.1": ["task.VAR=-0.1", "a number in [0, 1]"],
    f"{TWO} task.scene_time=0": ["task.scene_time=0", "at least 1"],
    f"{TWO} task.streak_unit=movies": ["task.streak_unit=movies", "did you mean 'movie'?"],
    f"{TWO} task.other_intervals=[0]": ["task.other_intervals=", "at least 1"],
    "task=scenes model=memo model.hidden_dims=[]": ["model.hidden_dims=[]", "as [50,50]"],
    "task=scenes model=hebbff model.eta_sign=anti model.eta_init=0.2": ["model.eta_init=0.2", "below 0"],
    "task=familiarity model=mpn model.update=ojas": ["model.update=ojas", "did you mean 'oja'?"],
    "task=scenes model=mlp": ["model: this network is read once", "use model=memo"],
    "task=scenes model=gru": ["model.bidirectional=true", "false"],
    "task=parity model=memo": ["model: this network has one readout"],
    "task=gmm preset=original": ["preset=original is not legal with task=gmm", "familiarity or scenes"],
}


@pytest.mark.parametrize("arguments", BAD)
def test_one_line_says_what_is_wrong(lop, tmp_path, arguments):
    refused(lop, arguments, *BAD[arguments])
    assert not list(tmp_path.rglob("run.json"))
