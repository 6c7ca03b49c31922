from io import StringIO

from leakage_results import made
from rich.console import Console

from dtfl_private.leakage.results.result import Result
from dtfl_private.report.tables.leakage import leakage_table
from dtfl_private.report.words.results import attack_labels


def lines(results: list[Result]) -> list[str]:
    file = StringIO()
    Console(file=file, width=200, color_system=None).print(leakage_table(results, title="what leaked"))
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


def test_a_row_for_each_attack_of_a_tier_with_intervals_and_what_to_compare_with():
    found = lines(
        [
            made(metric="psnr", value=20.26, baseline=10.0, baseline_name="class-mean"),
            made(value=0.7, baseline=0.1, baseline_name="mean-image", undefended=0.9),
            made(source="nearest-auxiliary", value=0.3, seeds=1),
            made(tier=3, cut=[64, 7, 7], value=0.4, n=50, adaptive=False),
        ]
    )
    assert found[0] == "what leaked"
    assert found[1] == "tier attack n PSNR, dB SSIM"
    rows = found[3:]
    assert rows[:7] == [
        "1 decoder 100 20.3 0.700",
        "16x28x28 20.2 to 20.5 0.600 to 0.900",
        "decoder, undefended 0.900",
        "oracle: nearest-auxiliary 100 0.300",
        "0.200 to 0.500",
        "guess: class-mean 10.0",
        "guess: mean-image 0.100",
    ]
    assert rows[7] == "3 decoder, not adaptive 50 0.400"
    assert "seeds: 1-3" in " ".join(rows[8:])


def test_of_images_the_headline_metrics_are_shown_and_of_others_all():
    names = ["mse", "mse-worst-5", "psnr", "ssim", "ssim-worst-5", "identifiability", "auc", "own-figure"]
    heading = lines([made(metric=name) for name in names])[1]
    assert heading == "tier attack n PSNR, dB SSIM SSIM, worst 5% identifiability AUC own-figure"


def test_names_from_a_file_are_no_markup():
    assert "[red]evil[/red]" in " ".join(lines([made(source="[red]evil[/red]")]))


def test_a_table_without_results_can_be_shown():
    assert lines([])[0] == "what leaked"


def test_attacks_of_one_name_are_told_apart_and_none_is_left_out():
    results = [made(), made(adaptive=False), made(value=0.6), made(metric="psnr"), made(tier=2)]
    assert attack_labels(results) == ["decoder", "decoder, not adaptive", "decoder #2", "decoder", "decoder"]
    found = lines(results)
    assert "1 decoder 100 0.500 0.5" in found
    assert "decoder #2 100 0.600" in found
