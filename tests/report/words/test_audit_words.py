from dtfl_private.report.words.audit import tiers_named
from dtfl_private.report.words.meanings import meaning
from dtfl_private.report.words.numbers import listed
from dtfl_private.report.words.results import figure


def test_figures_have_the_digits_of_their_metric():
    assert (figure(0.12345, "mse"), figure(20.26, "psnr"), figure(None, "ssim")) == ("0.1235", "20.3", "-")
    assert (figure(1.23456e-7, "unheard-of"), figure(123456.0, "unheard-of")) == ("1.235e-07", "1.235e+05")
    assert meaning("unheard-of") is None
    assert "most exposed" in (meaning("ssim-worst-5") or "")
    assert (listed([1]), listed([1, 2]), tiers_named([1, 2, 3])) == ("1", "1 and 2", "tiers 1, 2 and 3")
