from table_lines import lines

from dtfl_private.report.tables.summary import summary_table

SUMMARY = {
    "rounds": 12,
    "final_accuracy": 0.875,
    "best_accuracy": 0.9,
    "best_round": 11,
    "last_round": {},
    "judged_on": "test",
    "chosen_on": "test",
    "target_accuracy": 0.8,
    "rounds_to_target": 7,
    "time_to_target_s": 125.0,
    "virtual_time_s": 3725.0,
    "wall_time_s": 61.2,
    "bytes": {"down_weights": 1_500_000, "up_labels": 80},
    "macs": {"client": 2_000_000_000, "server": 5},
}


def test_the_closing_table_holds_the_figures_of_the_run():
    table = summary_table(SUMMARY, "runs/mine")
    assert lines(table) == [
        "rounds                12",
        "final test accuracy   0.8750",
        "best test accuracy    0.9000 (round 11; optimistic: chosen by it)",
        "target 0.8            round 7, after 2 min 05 s simulated",
        "simulated time        1 h 02 min",
        "wall time of rounds   1 min 01 s",
        "sent                  down weights 1.5 MB, up labels 80 B",
        "MACs                  client 2 G, server 5",
        "run folder            runs/mine",
    ]


def test_a_target_that_was_missed_or_not_set_is_said_so():
    missed = SUMMARY | {"rounds_to_target": None, "time_to_target_s": None}
    assert "target 0.8            not reached" in lines(summary_table(missed, "r"))
    assert not any("target" in line for line in lines(summary_table(missed | {"target_accuracy": None}, "r")))


def test_with_validation_images_the_round_that_they_select_is_shown():
    selected = {"selected_round": 9, "selected_accuracy": 0.89, "selected_validation_accuracy": 0.9333}
    shown = lines(summary_table(SUMMARY | selected | {"chosen_on": "validation"}, "r"))
    assert "best on validation    test accuracy 0.8900 (round 9; 0.9333 there)" in shown
    judged = lines(summary_table(SUMMARY | {"judged_on": "validation", "chosen_on": "validation"}, "r"))
    assert judged[1:3] == [
        "final validation accuracy   0.8750",
        "best validation accuracy    0.9000 (round 11; optimistic: chosen by it)",
    ]
