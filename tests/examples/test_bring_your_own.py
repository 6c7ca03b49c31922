from examples import bring_your_own


def test_the_example_trains_with_all_its_own_parts(capsys):
    assert bring_your_own.main() > 0.9
    out = capsys.readouterr().out
    assert "levels" in out
    assert "test accuracy" in out
