import html
import re
from dataclasses import replace

import pytest
import yaml
from markdown_it import MarkdownIt

from dtfl_private.data.description import DataDescription
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.judging.class_rows import class_rows
from dtfl_private.experiments.load_run import load_run
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.experiments.trained.model_card import ModelCard, card_document, write_card
from dtfl_private.printable import printable
from dtfl_private.verdicts.findings import TierVerdict

HOSTILE = (
    "---",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "a\nb: c",
    "`code`|*x*",
    "\x1b[31m",
    "http://evil.example",
    "www.evil.example",
    "!![tag]",
    "&lt;",
    "''",
    "\u2028x",
)

CAT = {"support": 4, "precision": 0.75, "recall": 0.5, "f1": 0.6}
DOG = {"support": 0, "precision": None, "recall": None, "f1": None}
BOTH = {"test": {"per_class": [CAT, DOG]}}


@pytest.fixture
def card(write_run, tmp_path) -> ModelCard:
    run = load_run(write_run(tmp_path / "made-up", [0.5, 0.75, 0.625]))
    data = DataDescription(
        name="photos", kind="images", classes=("cat", "dog"), input_shape=(1, 8, 8), mean=(0.5,), std=(0.25,)
    )
    privacy = [
        {
            "what": "smashed",
            "epsilon": None,
            "delta": None,
            "per": None,
            "sentence": "smashed data and labels are sent in clear",
            "client": None,
        }
    ]
    return ModelCard(
        config=TrainConfig(rounds=3, defense=["patch-shuffle:patch=4"]), data=data, records=run.records, privacy=privacy
    )


def parts(document: bytes) -> tuple[dict, str]:
    """Return what the front matter says, and the text behind it."""
    opening, front, text = document.decode().split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(front), text


def test_the_front_matter_is_that_of_the_hub(card):
    front, _ = parts(card_document(card))
    assert front["library_name"] == "dtfl-private"
    assert front["pipeline_tag"] == "image-classification"
    assert front["datasets"] == ["digits"]
    assert "license" not in front
    ((result),) = front["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.625}]
    assert result["dataset"] == {"name": "photos", "type": "digits", "split": "test"}


def test_a_card_says_what_it_is_how_it_was_trained_and_what_left_the_clients(card):
    _, text = parts(card_document(card))
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# resnet-8 on digits",
        *(
            f"## {name}"
            for name in ("Data", "How it was trained", "Classes", "Figures", "Privacy", "Leakage audit", "Use")
        ),
    ]
    for line in (
        "- defenses: patch-shuffle\\:patch=4",
        "- 1: dog",
        "- smashed data and labels are sent in clear",
        "| after the last round, 3: these weights | 0.6250 | 1.0000 |",
        "- class weights: none",
        "| highest of any round, 2, chosen by it: optimistic | 0.7500 | 1.0000 |",
    ):
        assert f"\n{line}\n" in text
    assert "validation" not in text
    assert "No audit of this run is known" in text


def test_clients_of_a_deployed_run_were_none_of_a_simulation(card):
    _, text = parts(card_document(card))
    assert "- dealt out to 10 clients: iid" in text
    assert "Clients, their devices and their times were simulated." in text
    real = replace(card, records=[{**record, "clock": "wall"} for record in card.records])
    _, text = parts(card_document(real))
    assert "- held by 10 clients, each its own" in text
    assert "Clients were processes of their own, over a real network; times were measured." in text
    assert "simulated" not in text
    assert "iid" not in text


def test_a_card_says_what_was_held_back_and_which_round_it_chose(card):
    records = [{**record, "validation_accuracy": 0.5 - record["round"] / 10} for record in card.records]
    config = card.config.model_copy(
        update={"validation": 0.1, "validation_held_by": "clients", "class_weights": "balanced"}
    )
    _, text = parts(card_document(replace(card, config=config, records=records)))
    for line in (
        "- held back as validation images: 10.0%, by the clients",
        "- class weights: balanced",
        "| best round on validation images, 1 | 0.5000 | 1.0000 |",
        "| highest of any round, 2, chosen by it: optimistic | 0.7500 | 1.0000 |",
    ):
        assert f"\n{line}\n" in text
    tuned = config.model_copy(update={"judged_on": "validation"})
    _, text = parts(card_document(replace(card, config=tuned, records=records)))
    assert "| highest of any round, 2, chosen by it: optimistic | 0.7500 | 1.0000 |" in text
    assert "best round on validation images" not in text


def test_a_card_tells_the_verdict_of_an_audit_tier_by_tier(card, audited_findings):
    _, text = parts(card_document(replace(card, findings=audited_findings)))
    assert "Clients' records are exposed in tier 1" in text
    assert "| 1 | exposed | decoder | SSIM | 0.800 |" in text
    _, text = parts(card_document(replace(card, findings=audited_findings.model_copy(update={"valid": False}))))
    assert "This audit is invalid" in text
    assert "| exposed |" not in text


@pytest.fixture
def audited_findings(findings_of, figure):
    strongest = figure(1, 0.8)
    verdict = TierVerdict(tier=1, cut=(4, 8, 8), level="exposed", attack="decoder", strongest=strongest, sentence="x")
    return findings_of([strongest], verdict=(verdict,))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_and_never_taken_for_markup(card, name):
    data = DataDescription(
        name=name, kind="images", classes=(name, "dog"), input_shape=(1, 8, 8), mean=(0.5,), std=(0.25,)
    )
    privacy = [{**card.privacy[0], "sentence": name}]
    front, text = parts(card_document(replace(card, data=data, privacy=privacy)))
    _, calm = parts(card_document(card))
    assert "license" not in front
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "digits"
    assert len(text.splitlines()) == len(calm.splitlines())  # no line of its own
    shown = MarkdownIt("commonmark").enable("table").render(text)
    escaped = html.escape(printable(name).strip(), quote=False)
    assert re.sub("&quot;", '"', shown).count(f"<li>0: {escaped}</li>") == 1
    assert re.sub("&quot;", '"', shown).count(f"<li>{escaped}</li>") == 1
    (line,) = [line for line in text.splitlines() if line.startswith("- 0: ")]
    assert "http://" not in line  # which hubs make links of
    assert "www." not in line


def test_who_changes_a_card_keeps_it(card, tmp_path):
    folder = RunFolder(path=tmp_path)
    assert write_card(folder, card)
    first = folder.card.read_bytes()
    assert write_card(folder, replace(card, records=card.records[:2]))
    assert folder.card.read_bytes() != first
    folder.card.write_bytes(first.replace(b"cat", b"my cat"))
    assert not write_card(folder, card)
    assert b"my cat" in folder.card.read_bytes()
    folder.card.unlink()
    folder.card.symlink_to(tmp_path / "elsewhere")
    assert not write_card(folder, card)
    assert not (tmp_path / "elsewhere").exists()


def test_training_leaves_a_card(run_tiny):
    run = run_tiny("run", rounds=1)
    front, text = parts(run.folder.card.read_bytes())
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == run.records[-1]["test_accuracy"]
    assert 'load_model("model.safetensors", model=NETWORK)' in text
    for entry in run.summary["privacy"]:
        assert entry["sentence"].partition(",")[0] in text


def test_classes_have_their_figures_where_these_are_known(card):
    rows = class_rows(BOTH, 2)
    _, text = parts(card_document(replace(card, by_class=rows)))
    assert "| class | name | images | precision | recall | F1 |" in text
    assert "| 0 | cat | 4 | 0.750 | 0.500 | 0.600 |" in text
    assert "| 1 | dog | 0 | - | - | - |" in text
    assert "of these weights on the test images" in text


def test_figures_of_clients_own_networks_are_not_told_as_those_of_the_weights(card):
    front, text = parts(card_document(replace(card, judged_apart=True, by_class=class_rows(BOTH, 2))))
    assert "model-index" not in front
    assert "these weights" not in text
    assert "| after the last round, 3: the clients' own networks | 0.6250 |" in text
    assert "Figures of the clients' own networks on the test images." in text
    assert "they were not judged" in text
    _, usual = parts(card_document(card))
    assert "they were not judged" not in usual


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_in_their_cell(card, name):
    data = card.data.model_copy(update={"classes": (name, "dog")})
    rows = class_rows(BOTH, 2)
    _, text = parts(card_document(replace(card, data=data, by_class=rows)))
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    table = page[page.index("<table>") : page.index("</table>")]
    body = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in table.split("<tr>")[2:]]
    assert [cells[2:] for cells in body] == [["4", "0.750", "0.500", "0.600"], ["0", "-", "-", "-"]]


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"test": None},
        {"test": [1]},
        {"test": {"per_class": {}}},
        {"test": {"per_class": [CAT]}},
        {"test": {"per_class": [CAT, CAT, CAT]}},
        {"test": {"per_class": [CAT, None]}},
        {"test": {"per_class": [CAT, {**CAT, "recall": "1 | x"}]}},
        {"test": {"per_class": [CAT, {**CAT, "f1": 2.0}]}},
        {"test": {"per_class": [CAT, {**CAT, "precision": float("nan")}]}},
        {"test": {"per_class": [CAT, {**CAT, "support": -1}]}},
        {"test": {"per_class": [CAT, {"support": 3}]}},
    ],
    ids=str,
)
def test_a_summary_of_somebody_else_is_believed_only_where_it_is_sound(summary):
    assert class_rows(summary, 2) == ()
