import pytest
from table_lines import lines

from dtfl_private.report.tables.judged import class_table, judged_rows


def a_class(name: str, f1: float | None = 0.5, support: int = 1200) -> dict[str, object]:
    auc = None if f1 is None else 0.9
    return {"class": name, "support": support, "precision": f1, "recall": f1, "f1": f1, "roc_auc": auc}


def summary_of(classes: list[dict[str, object]]) -> dict[str, object]:
    return {"judged_on": "test", "rounds": 9, "test": {"per_class": classes}, "clients": None}


def test_each_class_has_a_row_and_one_without_images_blanks():
    classes = [a_class("cat", 0.25), a_class("dog \x1b[31m[bold]", None, 0)]
    shown = lines(class_table(summary_of(classes)))[-2:]
    assert shown[0].split() == ["cat", "1,200", "0.250", "0.250", "0.250", "0.900"]
    assert shown[1].split() == ["dog", r"\x1b[31m[bold]", "0", "-", "-", "-", "-"]


def test_of_many_classes_the_ten_worst_are_shown_and_it_is_said():
    classes = [a_class(f"class{n:02}", (8 * n % 21) / 21) for n in range(21)] + [a_class("absent", None, 0)]
    shown = lines(class_table(summary_of(classes)))
    assert shown[-1] == "the 10 of 22 classes with the least F1"
    worst = [line.split()[-2] for line in shown[-11:-1]]
    assert worst == [f"{place / 21:.3f}" for place in range(10)]
    assert not any("absent" in line for line in shown)
    few = lines(class_table(summary_of(classes[:20])))
    assert [line.split()[0] for line in few[-20:]] == [f"class{n:02}" for n in range(20)]


TEST = {"balanced_accuracy": 0.5, "macro_f1": 0.25, "macro_roc_auc": None, "ece": 0.125, "brier": 1.5}
CLIENTS = {"n": 3, "worst": 0.25, "worst_client": 7, "tenth_percentile": 0.375, "std": 0.0625}


def test_the_closing_table_has_a_line_each_for_classes_calibration_and_clients():
    assert dict(judged_rows({"rounds": 9, "test": TEST, "clients": CLIENTS})) == {
        "over classes": "balanced accuracy 0.500, F1 0.250, ROC-AUC - (round 9)",
        "calibration": "expected error 0.125, Brier score 1.500",
        "over clients": "worst 0.250 (client 7), 10th percentile 0.375, spread 0.062",
    }


def test_the_selected_model_is_shown_where_there_is_one():
    summary = summary_of([a_class("cat")]) | {"test": TEST, "selected_round": 4, "selected_clients": CLIENTS}
    summary["selected_test"] = TEST | {"macro_f1": 0.75, "per_class": [a_class("dog")]}
    assert dict(judged_rows(summary))["over classes"].endswith("F1 0.750, ROC-AUC - (round 4)")
    shown = lines(class_table(summary))
    assert shown[0] == "test records by class, model of round 4"
    assert shown[-1].startswith("dog ")


@pytest.mark.parametrize("clients", [None, {"n": 0}])
def test_without_figures_of_clients_nothing_is_said_of_them(clients):
    assert "over clients" not in dict(judged_rows({"rounds": 9, "test": TEST, "clients": clients}))
    assert dict(judged_rows({})) == {}
