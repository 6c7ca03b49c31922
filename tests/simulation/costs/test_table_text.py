from dataclasses import replace


def test_a_cost_table_says_what_it_is_of_and_how_its_tiers_range(four_tiers):
    first, second = repr(replace(four_tiers, about="resnet-8, 3x32x32 inputs")).splitlines()
    assert first == ("TierTable of resnet-8, 3x32x32 inputs: 4 tiers, 5 modules, 12,500,000 forward MACs per input")
    low, high = four_tiers.rows[0].client_train_macs, four_tiers.rows[-1].client_train_macs
    assert f"client MACs {low:,} to {high:,}" in second
    assert repr(four_tiers).startswith("TierTable: 4 tiers")


def test_a_notebook_shows_a_row_for_each_tier_and_times_where_there_are_any(four_tiers):
    html = four_tiers._repr_html_()
    assert html.count("<tr>") == 5
    assert f"{four_tiers.rows[1].smashed_bytes:,}" in html
    assert "step, ms" not in html
    timed = replace(four_tiers, rows=tuple(replace(row, client_step_s=0.0025) for row in four_tiers.rows))
    assert "2.5" in timed._repr_html_()
    assert "client step, ms" in timed._repr_html_()


def test_what_a_table_is_called_makes_no_difference(four_tiers):
    assert replace(four_tiers, about="another") == four_tiers
