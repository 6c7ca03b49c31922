"""What a configuration takes for granted is said of all that a search finds under it."""

import json

import pytest
from rich.console import Console

from dtfl_private.choosing.limits import parse_limits
from dtfl_private.choosing.request import make_request
from dtfl_private.choosing.rungs import rungs_of
from dtfl_private.choosing.tables import tuning_output
from dtfl_private.choosing.trial import Leak, Measured, Rules, standing
from dtfl_private.choosing.written_tuning import write_tuning
from dtfl_private.experiments.config.train_config import TrainConfig

SENTENCE = "secure aggregation is assumed, not shown"


@pytest.mark.parametrize("assume", [["secure-aggregation"], []])
def test_an_assumption_is_in_every_account_of_a_search(tmp_path, assume):
    request = make_request(TrainConfig(method="fedavg", assume=assume), None, limits=["ssim<=0.4"], trials=2)
    leak = Leak(limit="ssim<=0.4", tier=1, source="update-inversion", value=0.5, end=0.6, other_end=0.4, n=9)
    own = Measured(trial=0, rung=1, point={}, outcome="done", accuracy=0.5, images=9, time_s=1.0, leaks=(leak,))
    stands = [standing(own, own, Rules(limits=parse_limits(["ssim<=0.4"])))]
    rungs = rungs_of(4, ([], []))
    found = write_tuning(tmp_path, request, stands, stands, [], configs=lambda _: request.config, rungs=rungs)
    console = Console(width=2000)
    with console.capture() as captured:
        console.print(*tuning_output(found))
    assert json.loads(found.path.read_text())["assumed"] == assume
    for account in (captured.get(), found.report.read_text()):
        assert (SENTENCE in account) is bool(assume)
