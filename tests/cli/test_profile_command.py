"""The profile command: costs, automatic cuts, pictures, large networks, wrong input."""

import json

import pytest


def test_profile_shows_and_writes_the_cost_table(dtfl, tmp_path):
    arguments = ["profile", "--input-shape", "1x8x8", "--batch-size", 8]
    table = dtfl(*arguments, "--repeats", 0, "--json", "costs.json")
    assert (table.status, table.err) == (0, "")
    assert "simulated time of a round of 500 images" in table.out
    words = " ".join(table.out.split())
    assert "nothing was measured" in words
    assert "measured" not in words.replace("nothing was measured", "")
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert [row["tier"] for row in costs["rows"]] == [1, 2, 3, 4]
    assert [row["client_step_s"] for row in costs["rows"]] == [None] * 4
    only = dtfl(*arguments, "--repeats", 0, "--json", "-")
    assert json.loads(only.out) == costs
    measured = dtfl(*arguments, "--repeats", 1, "--json", "-")
    assert all(row["client_step_s"] > 0 and row["server_step_s"] > 0 for row in json.loads(measured.out)["rows"])


def test_profile_compares_automatic_cuts_with_the_networks_own_and_draws_both(dtfl, tmp_path):
    line = "profile --model resnet-8 --repeats 0 --input-shape 1x8x8 --cuts 2 --plot costs.png --json costs.json"
    status, out, err = dtfl(*line.split())
    assert (status, err) == (0, "")
    assert "where resnet-8 can be cut" in out
    assert "automatic tier" in out
    assert (tmp_path / "costs.png").read_bytes()[:4] == b"\x89PNG"
    assert len(json.loads((tmp_path / "costs.json").read_text())["rows"]) == 4


def test_a_network_that_does_not_fit_in_memory_is_profiled_and_planned(dtfl):
    status, out, err = dtfl(*["profile", "--model", "bert-large:cuts=2", "--input-shape", "128", "--repeats", "0"])
    assert (status, err) == (0, "")
    assert "128x1024" in out
    status, out, err = dtfl(
        *["plan", "--model", "bert-large:cuts=2", "--input-shape", "128", "--rounds", "2", "--no-compare"]
    )
    assert (status, err) == (0, "")
    assert "10 clients, 2 rounds, bert-large:cuts=2" in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("profile --repeats 0 --cuts 9 --model resnet-8", "9 cuts are not possible: this network has 4 places"),
        ("profile --repeats 0 --cuts 2 --cuts-by seconds", "need measured ones"),
        ("profile --repeats 0 --cuts 0", "Invalid value for '--cuts'"),
        ("profile --repeats 0 --cuts-by time", "Invalid value for '--cuts-by'"),
        ("profile --repeats 0 --plot nowhere/costs.png --input-shape 1x8x8", "'nowhere/costs.png' cannot be written"),
        ("profile --plot costs.svg", "picture 'costs.svg' is refused: it is a PNG, so let its name end in .png"),
        ("profile --json .", "'.' cannot be written: it is a folder"),
        ("profile --repeats 0 --input-shape 512", "this network takes images (channels, height, width)"),
        ("profile --repeats 0 --model transformer", "this network takes sequences of tokens (length,)"),
        ("profile --repeats 0 --model bert-base --input-shape 600", "600 tokens are more than the 512"),
        ("profile --repeats 0 --model vgg-11:cuts=9", "9 cuts are not possible"),
        ("profile --repeats 0 --input-shape 3x3", "is not CHANNELSxHEIGHTxWIDTH, as in 3x32x32, nor a number of"),
        ("plan --model vgg-12", "unknown model 'vgg-12': did you mean 'vgg-11'"),
        ("train --dataset sentences", "this network takes images (channels, height, width)"),
        ("train --dataset sentences --model transformer --augment flip", "augment flip changes images"),
        ("train --model transformer", "this network takes sequences of tokens"),
        ("train --model nowhere_nets:build", "no module 'nowhere_nets'"),
    ],
)
def test_wrong_networks_are_answered_in_one_line(dtfl, tmp_path, line, said):
    status, out, err = dtfl(*line.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
