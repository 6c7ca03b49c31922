"""What a search says, where names come from anybody: nothing of them runs in the page, or steers a terminal."""

import io
import json
from html import unescape
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from rich.console import Console

from dtfl_private.choosing.fresh_audit import FreshAudit, differences
from dtfl_private.choosing.page import tuning_page
from dtfl_private.choosing.ranking import frontier
from dtfl_private.choosing.request import make_request
from dtfl_private.choosing.rungs import Rung
from dtfl_private.choosing.tables import tuning_output
from dtfl_private.choosing.trial import Leak, Measured, standing
from dtfl_private.choosing.written_tuning import Tuning, tuning_document
from dtfl_private.experiments.config.train_config import TrainConfig

EVIL = "</td><script>alert('x')</script><img src=x onerror=alert(1)>\x1b]0;gone\x07\x1b[2J\u202e{{7*7}}[bold]"
RUNGS = [Rung(number=0, name=EVIL, rounds=1, attacks=(EVIL,)), Rung(number=1, name="whole", rounds=2, attacks=())]


def trial(number: int, leak: float, **more: object) -> Measured:
    found = Leak(limit="ssim<=0.4", tier=1, source=EVIL, value=leak, end=leak, other_end=leak, n=9)
    values = {"accuracy": 0.5, "images": 9, "time_s": 1.0, "leaks": (found,), "outcome": "done", "rung": 1, **more}
    return Measured(trial=number, point={EVIL: EVIL, "train.wire": EVIL}, **values)


@pytest.fixture
def tuning(tmp_path) -> Tuning:
    config = TrainConfig().model_copy(
        update={"dataset": EVIL, "model": EVIL, "method": EVIL, "defense": [EVIL], "assume": ["secure-aggregation"]}
    )
    request = make_request(config, None, limits=["ssim<=0.4"], max_accuracy_loss=1.0)
    whole = [standing(trial(n, leak), trial(0, 0.9), request.rules) for n, leak in enumerate((0.9, 0.3))]
    nothing = {"accuracy": None, "time_s": None, "leaks": (), "rung": 0}
    refused = trial(2, 0.3, outcome="refused", why=EVIL, **nothing)
    first = [
        *whole,
        *(standing(one, trial(0, 0.9), request.rules) for one in (refused, trial(3, 0.3, inactive=(EVIL,), rung=0))),
    ]
    audit = FreshAudit(
        chosen=whole[1],
        stand=whole[1],
        findings=SimpleNamespace(valid=True),
        folder=tmp_path / EVIL.replace("/", ""),
        differences=differences(whole[0].measured, whole[1].measured, request.limits),
    )
    return Tuning(
        folder=tmp_path,
        request=request,
        first_rung=first,
        whole=whole,
        frontier=frontier(whole, request.limits),
        misses=whole,
        audits=[audit],
        config=config,
    )


class _Elements(HTMLParser):
    """What a browser would make of a page: the names of its elements, and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_of_a_name_becomes_a_part_of_the_page(tuning):
    page = tuning_page(tuning, RUNGS)
    reader = _Elements()
    reader.feed(page)
    assert "script" not in {tag for tag, _ in reader.found}
    for tag, attributes in reader.found:
        assert not [name for name in attributes if name.startswith("on")], tag
        sources = [str(attributes[name]) for name in ("src", "srcset", "href") if name in attributes]
        assert all(source.startswith(("data:image/", "data:,", "#")) for source in sources)
    # As text it is there: data set, network, method, points, sources, rungs, what was refused and what is inactive.
    assert unescape(page).count("alert('x')") > 20
    assert unescape(page).count("alert('x')") == unescape(page).count("{{7*7}}")


def test_nothing_of_a_name_steers_a_terminal(tuning):
    console = Console(width=80, force_terminal=True, record=True, file=io.StringIO())
    for part in tuning_output(tuning):
        console.print(part)
    shown = console.export_text()
    assert "\\x1b" in shown
    assert not {sign for sign in shown if not sign.isprintable()} - {"\n"}
    assert repr(tuning).isprintable()


def test_what_was_taken_for_granted_is_said_wherever_the_outcome_is(tuning):
    assert "assumed, not shown" in tuning_page(tuning, RUNGS)
    assert tuning_document(tuning, RUNGS)["assumed"] == ["secure-aggregation"]


def test_tune_json_has_no_number_that_json_has_not(tuning):
    assert json.loads(json.dumps(tuning_document(tuning, RUNGS), allow_nan=False))["recommended"]["trial"] == 1
