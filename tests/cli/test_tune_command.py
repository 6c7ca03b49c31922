"""The tune command from start to end."""

import json
import tomllib

import pytest
from fast_attacks import LeastSquares
from reassuring_defenses import MilitaryGradeVault

from dtfl_private.auditing import audit_plan, measuring, written_audit
from dtfl_private.choosing import fresh_audit, rungs, written_tuning
from dtfl_private.choosing import page as tuning_page
from dtfl_private.experiments.config.toml_files import read_toml
from dtfl_private.experiments.config.train_config import make_config
from dtfl_private.leakage.measures.distance_correlation import DistanceCorrelation
from dtfl_private.report.html import page

CONFIG = """
dataset = "digits:size=8"
max_train_images = 60
batch_size = 8
clients = 2
rounds = 2
tiers = 1
device = "cpu"
"""

SPACE = """
[[defense]]
name = "gaussian-noise"
settings = { sd = [1.0, 30.0] }

[[defense]]
name = "military-grade-vault"
"""

ASKED = (
    *("tune", "c.toml", "--space", "s.toml", "--limit", "ssim<=0.75", "--workers", "1", "--out", "found"),
    *("--max-accuracy-loss", "1", "--max-time-ratio", "9"),
)


@pytest.fixture
def small(tmp_path, offer, monkeypatch):
    """A configuration, a space with a defense in name only, and attacks that take no time."""
    offer("attack", "least-squares", LeastSquares)
    offer("defense", "military-grade-vault", MilitaryGradeVault)
    monkeypatch.setattr(rungs, "_SEARCHED", {"decoder": ("least-squares:ridge=0.01", "least-squares")})
    monkeypatch.setattr(rungs, "_FRESH", {"decoder": "least-squares"})
    monkeypatch.setattr(rungs, "LEFT_OUT", rungs.LEFT_OUT | {"unshuffle"})
    monkeypatch.setattr(rungs, "QUICK_VICTIMS", 16)
    monkeypatch.setattr(rungs, "VICTIMS", 32)
    monkeypatch.setattr(fresh_audit, "VICTIMS", 16)
    monkeypatch.setattr(fresh_audit, "SEEDS", 1)
    monkeypatch.setattr(written_audit, "audit_pictures", lambda _: {})  # they have tests of their own
    for picture in ("by_tier_picture", "accuracy_leakage_picture", "auxiliary_curve_picture"):
        monkeypatch.setattr(page, picture, lambda *_, **__: b"<svg/>")
    monkeypatch.setattr(tuning_page, "frontier_picture", lambda *_, **__: b"<svg/>")  # drawn by the page's own tests
    for module in (audit_plan, measuring):  # one measure that takes no time
        monkeypatch.setattr(module, "MEASURES", {"distance-correlation": DistanceCorrelation(permutations=19)})
    (tmp_path / "c.toml").write_text(CONFIG)
    (tmp_path / "s.toml").write_text(SPACE)
    return tmp_path / "found"


def test_tune_finds_what_hides_enough_and_not_what_is_only_called_so(dtfl, small, monkeypatch):
    status, out, err = dtfl(*ASKED)
    assert (status, err) == (0, "")
    assert "rung 0: short: 40 trials of 1 round" in out
    assert "the space is used up after 4 trials" in out
    document = json.loads((small / "tune.json").read_text())
    assert [one["defenses"] for one in document["inactive"]] == [["military-grade-vault"]]
    audit = document["fresh_audits"][-1]
    assert audit["confirmed"]
    assert document["recommended"]["trial"] == audit["trial"]
    assert audit["point"]["activations"] == "gaussian-noise"
    assert all(leak["end"] <= 0.75 for leak in audit["leaks"])
    assert {row["what"] for row in audit["winners_curse"]} == {"ssim<=0.75", "accuracy"}
    assert all("vault" not in str(one["point"]) for one in [*document["frontier"], *document["trials"]])

    recommended = make_config(read_toml(small / "recommended.toml"))
    assert recommended.defense[0].startswith("gaussian-noise:sd=")
    assert recommended.model_copy(update={"defense": []}) == make_config(tomllib.loads(CONFIG))
    page = (small / "report.html").read_text()
    assert "military-grade-vault" in page
    assert "<script" not in page
    assert (small / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((small / "audit" / "audit.json").read_text())["valid"]
    # Trials have figures, and no pictures of images, which nobody would look at.
    trial = small / "trials" / "0000-short" / "attacks"
    assert (trial / "attack.json").exists()
    assert not list(trial.glob("*.png"))

    findings = small / "fresh" / f"trial-{audit['trial']}" / "audit" / "audit.json"
    written = findings.stat().st_mtime_ns
    monkeypatch.setattr(written_tuning, "frontier_picture", lambda *_, **__: b"")  # it was looked at above
    status, resumed, err = dtfl("tune", "--resume", "found", "--json")
    assert status == 0
    assert json.loads(resumed) == document
    assert findings.stat().st_mtime_ns == written


def test_where_nothing_is_within_the_limits_none_is_recommended(dtfl, small):
    status, out, err = dtfl(*ASKED, "--limit", "mse>=0.9", "--trials", "2", "-q")
    assert (status, err) == (0, "")
    assert "none found: of 2 trials none is within all limits" in out
    assert not (small / "recommended.toml").exists()
    document = json.loads((small / "tune.json").read_text())
    assert document["recommended"] is None
    assert document["nearest_misses"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tune",), "RUN or CONFIG.toml is missing"),
        (("tune", "c.toml"), "no limit is given"),
        (("tune", "c.toml", "--limit", "sim<=1"), "did you mean 'ssim'"),
        (("tune", "c.toml", "--limit", "ssim<=1@tier>=99"), "about none of the tiers"),
        (("tune", "nowhere.toml", "--limit", "ssim<=1"), "does not exist"),
        (("tune", "c.toml", "--limit", "ssim<=1", "--space", "c.toml"), "unknown table"),
        (("tune", "c.toml", "--limit", "ssim<=1", "--trials", "9", "--hours", "1"), "give one of them"),
        (("tune", "--resume", "nowhere"), "no search to go on with"),
        (("tune", "c.toml", "--resume", "nowhere"), "leave one out"),
        (("tune", "--resume", "nowhere", "--trials", "9"), "leave one out"),
    ],
)
def test_wrong_input_is_answered_in_one_line_and_writes_nothing(dtfl, small, arguments, said):
    tmp_path = small.parent
    before = sorted(path.name for path in tmp_path.iterdir())
    status, _, err = dtfl(*arguments)
    assert status == 2
    assert said in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_without_optuna_a_line_says_what_to_install(dtfl, small, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    status, _, err = dtfl(*ASKED)
    assert status == 2
    assert "pip install 'dtfl-private[tune]'" in err
    assert not small.exists()


def test_a_folder_that_is_in_use_or_spoiled_is_refused(dtfl, small):
    small.mkdir()
    (small / "tune.toml").write_text("[tune]\n")
    assert "exists: --resume" in dtfl(*ASKED)[2]
    assert "expected the tables tune, config and space" in dtfl("tune", "--resume", "found")[2]


def test_the_built_in_space_is_shown_and_is_one(dtfl, small):
    status, out, _ = dtfl("tune", "c.toml", "--limit", "ssim<=0.5", "--show-space")
    assert status == 0
    assert "gaussian-noise" in tomllib.loads(out)["defense"][0]["name"]
    assert not small.exists()
