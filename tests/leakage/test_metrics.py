from dtfl_private.leakage.metrics import METRICS, MSE, SSIM, find_metric


def test_metrics_are_found_by_name_with_their_worst_ones():
    assert find_metric("ssim") is SSIM
    assert find_metric("mse-worst-5") == MSE.worst
    assert MSE.worst.exposing == "low"
    assert MSE.worst.label == "MSE, worst 5%"
    assert {"mse", "psnr", "ssim", "identifiability", "classifier-accuracy", "auc"} <= METRICS.keys()


def test_an_unknown_metric_has_its_name_as_its_label():
    found = find_metric("of-my-own")
    assert (found.name, found.label, found.share) == ("of-my-own", "of-my-own", False)
