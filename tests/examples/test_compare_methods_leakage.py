"""The example that sets methods side by side, in a tiny setting."""

from io import StringIO

import pytest
from rich.console import Console

from dtfl_private import AuditConfig, InputError, TrainConfig
from dtfl_private.attacking import runner as attacking
from dtfl_private.auditing import identity_check, shallowest_check, written_audit
from dtfl_private.leakage.measures.effective_rank import EffectiveRank
from dtfl_private.report.comparison import written_files
from dtfl_private.report.comparison.document import as_json
from dtfl_private.report.html import page
from examples.compare_methods_leakage import BEGIN, END, main, write_table

RUN = TrainConfig(
    dataset="digits:size=8",
    max_train_images=120,
    clients=3,
    rounds=2,
    batch_size=8,
    lr=0.01,
    stop_at_target=True,
    device="cpu",
    workers=1,
)
AUDIT = AuditConfig(
    attacks=("optimization:steps=8,smoothness=0.0001,lr=0.1", "membership-matching"),
    tiers=(1,),
    victims=24,
    aux_images=60,
    seeds=1,
    measured=100,
    device="cpu",
    workers=1,
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the example printed of two methods that can be audited and one without records at the clients, and found."""
    out, text = tmp_path_factory.mktemp("methods"), StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attacking, "save_pictures", lambda *_: [])
        patch.setattr(written_audit, "audit_pictures", lambda _: {})
        for picture in ("by_tier_picture", "accuracy_leakage_picture", "by_client_picture"):
            patch.setattr(page, picture, lambda *_, **__: b"<svg/>")
        for picture in ("accuracy_picture", "target_picture"):  # of the comparison, only that of leakage is looked at
            patch.setattr(written_files, picture, lambda *_, **__: b"drawn")
        patch.setattr(identity_check, "IDENTITY_SSIM", 0.0)  # few steps find less, and audits are valid all the same
        patch.setattr(shallowest_check, "SHALLOWEST_SSIM", 0.0)
        for module in ("audit_plan", "measuring"):
            patch.setattr(f"dtfl_private.auditing.{module}.MEASURES", {"effective-rank": EffectiveRank()})
        methods = ("local-loss:cut=1", "dtfl", "centralised")
        console = Console(width=200, file=text)
        found = main(
            out,
            methods,
            0.05,
            training=RUN.model_copy(update={"scheduler": "static:1"}),
            auditing=AUDIT,
            console=console,
        )
        yield found, text.getvalue(), out


def test_methods_are_trained_to_one_target_audited_alike_and_set_side_by_side(shown):
    found, _, out = shown
    rows = {row["name"]: row for row in as_json(found.comparison)["methods"]}
    assert set(rows) == {"local-loss", "dtfl", "centralised"}
    for name in ("local-loss", "dtfl"):
        exposure = rows[name]["exposure"]
        assert exposure["goals"]["ssim"]["value"] > exposure["goals"]["ssim"]["baseline"]
        assert exposure["goals"]["auc"] is not None
        assert exposure["labels_in_clear"]
        assert rows[name]["reached"] == 1
    assert (out / "comparison" / "method-leakage.png").is_file()


def test_a_method_that_cannot_be_audited_is_named_with_the_reason(shown):
    found, text, _ = shown
    assert set(found.refused) == {"centralised"}
    assert f"centralised is not audited: {found.refused['centralised']}" in text
    rows = {row["name"]: row for row in as_json(found.comparison)["methods"]}
    assert rows["centralised"]["exposure"] is None


def test_the_table_is_put_into_a_page_between_its_marks_as_often_as_wanted(shown, tmp_path):
    found, _, _ = shown
    written = tmp_path / "page.md"
    written.write_text(f"before\n\n{BEGIN}\n\nstale\n\n{END}\n\nafter\n")
    write_table(written, found.comparison)
    first = written.read_text()
    assert first.startswith(f"before\n\n{BEGIN}\n\n| method | audited |")
    assert first.endswith(f"{END}\n\nafter\n")
    assert "| local-loss | 1 of 1 |" in first
    assert "stale" not in first
    write_table(written, found.comparison)
    assert written.read_text() == first
    written.write_text("nothing")
    with pytest.raises(InputError, match="has no place for the table"):
        write_table(written, found.comparison)
