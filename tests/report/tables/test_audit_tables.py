from io import StringIO

import pytest
from audit_samples import auxiliary_curve, clients, convergence, full, invalid, minimal, result
from rich.console import Console

from dtfl_private.report.tables.audit import audit_output, sanity_line
from dtfl_private.report.tables.exposure import by_exposure, profile_rows, segments, shown_clients
from dtfl_private.report.words.audit import overall
from dtfl_private.verdicts.findings import ClientExposure


def lines(findings) -> list[str]:
    file = StringIO()
    console = Console(file=file, width=200, color_system=None)
    for part in audit_output(findings):
        console.print(part)
    return [" ".join(line.split()) for line in file.getvalue().splitlines() if line.strip()]


def made(client: int, **values) -> ClientExposure:
    given = {**clients(3)[0], "client": client}
    return ClientExposure.model_validate({**given, **values})


def test_a_row_per_tier_with_what_to_compare_with():
    found = lines(full())
    assert found[:2] == [
        "verdict: the strongest attack at each tier, and the best trivial guess",
        "tier verdict attack metric reached 95% interval guess undefended",
    ]
    assert found[3:7] == [
        "1 16x32x32 ▲ exposed hybrid SSIM 0.830 0.812 to 0.848 0.110 mean-image 0.980",
        "2 16x32x32 ▲ exposed hybrid SSIM 0.630 0.612 to 0.648 0.110 mean-image 0.920",
        "3 32x16x16 ◆ partly exposed decoder SSIM 0.380 0.362 to 0.398 0.110 mean-image 0.740",
        "4 64x8x8 ○ not shown to leak decoder SSIM 0.160 0.142 to 0.178 0.110 mean-image 0.390",
    ]
    assert "pi-zero, 0.5 CPU 4 1 62 SSIM 0.824 0.830" in found
    assert found[-2].startswith("sanity checks passed: identity: decoder reached SSIM 0.998, needed: at least 0.990")
    assert found[-1] == (
        "Clients' records are exposed in tiers 1 and 2, partly exposed in tier 3 and not shown to leak in tier 4, "
        "which is no proof that they are safe there."
    )


def test_what_not_shown_to_leak_means_is_said_where_a_tier_is_called_so():
    meaning = "not shown to leak: no attack got clearly beyond a guess, which proves no safety"
    assert meaning in lines(full())
    assert meaning not in lines(full(verdict=full().verdict[:3]))


def test_what_decides_is_named_where_the_table_shows_another_result():
    best = full().verdict[0].strongest
    steady = best.model_copy(
        update={
            "source": "steady",
            "advantage": 0.06,
            "advantage_ci_low": 0.03,
            "advantage_ci_high": 0.09,
            "p_value": 0.0,
        }
    )
    verdicts = [full().verdict[0].model_copy(update={"decided_by": one}) for one in (steady, best, None)]
    found = [line for line in lines(full(verdict=verdicts)) if line.startswith("tier ") and " by " in line]
    beyond = "beyond the guess by +0.060 (0.030 to 0.090), p < 1e-12"
    assert found == [f"tier 1 is exposed by steady by SSIM 0.830, {beyond}"]


def test_an_invalid_audit_is_called_so_whatever_its_levels():
    found = lines(full(sanity=invalid().sanity))
    assert found[0] == "verdict: INVALID, do not use these figures"
    assert "1 16x32x32 ✕ invalid hybrid" in found[3]
    assert "INVALID: sanity check failed" in found[-3]
    assert "md1: decoder reached SSIM 0.412" in found[-3]
    assert found[-2].startswith("what to try: more effort (--effort, or an attack's own steps), other attacks")
    assert found[-1] == "This audit is invalid: it says nothing about how much leaks."
    assert sanity_line(full(valid=False)).startswith("INVALID")


def test_whether_attacks_have_converged_is_said_unless_the_audit_is_invalid():
    text, steady = "convergence: tier 4, hybrid with twice the effort: SSIM", "PSNR 16.4 dB instead of 16.2 dB"
    assert f"{text} 0.151 instead of 0.150, {steady} (converged: no more than 0.02 and 1 dB above)" in lines(full())
    (found,) = (line for line in lines(full(convergence=convergence(0.182))) if line.startswith("convergence"))
    assert found.startswith(
        f"{text} 0.182 instead of 0.150, {steady} (NOT converged: more than 0.02 or 1 dB above; it leaks at least this"
    )
    assert any(line.endswith("--effort normal or exhaustive)") for line in lines(full(convergence=convergence(0.182))))
    (found,) = (line for line in lines(full(convergence=convergence(0.151, 23.1))) if line.startswith("convergence"))
    assert "PSNR 23.1 dB instead of 16.2 dB (NOT converged" in found


def test_an_audit_that_judged_convergence_by_ssim_alone_is_shown_as_it_was():
    older = {**convergence(0.151), "psnr": None}
    text = (
        "convergence: tier 4, hybrid with twice the effort: SSIM 0.151 instead of 0.150 (converged: no more than 0.02"
    )
    assert f"{text} above)" in lines(full(convergence=older))
    exact = {**convergence(0.151), "psnr": {"value": 41.0, "doubled": 47.0, "margin": 1.0, "exact": 40.0}}
    (found,) = (line for line in lines(full(convergence=exact)) if line.startswith("convergence"))
    assert found.endswith("(converged: no more than 0.02 above; from 40 dB on a rise of PSNR does not count)")


def test_no_convergence_is_told_of_an_audit_without_one():
    for without in (full(convergence=None), invalid()):
        assert not any(line.startswith("convergence") for line in lines(without))


def fallen(tier: int, source: str) -> dict:
    """Return an attack's result that is exactly a trivial guess's."""
    equal = {"baseline": 0.11, "baseline_name": "class-mean", "advantage": 0.0}
    ends = {"advantage_ci_low": 0.0, "advantage_ci_high": 0.0, "p_value": 1.0}
    return result(tier, source, "ssim", 0.11, 0.01, **equal, **ends)


def test_attacks_that_fell_back_to_a_trivial_guess_are_named_with_their_tiers():
    given = full().model_dump()["results"]
    found = full(results=[*given, fallen(3, "decoder"), fallen(4, "decoder"), fallen(4, "hybrid")])
    (line,) = (line for line in lines(found) if line.startswith("fell back"))
    assert line.startswith(
        "fell back to a trivial guess: decoder in tiers 3 and 4 to class-mean and hybrid in tier 4 to class-mean: "
    )
    assert not any(line.startswith("fell back") for line in lines(full()))


def test_how_leakage_follows_the_attacker_s_data_is_said_unless_the_audit_is_invalid_or_has_no_curve():
    reached = "auxiliary data: tier 4, decoder reaches SSIM 0.120 with 100, 0.140 with 1,000 and {} with 5,000 images"
    (flat,) = (line for line in lines(full()) if line.startswith("auxiliary data"))
    last = f"{reached.format('0.150')} (the last step, 5 times as many, brings +0.010"
    assert flat.startswith(f"{last}; the audit had no more to train on")
    whole = [{**point, "images": 2 * point["images"]} for point in auxiliary_curve(0.15)]
    assert any(line.endswith("5 times as many, brings +0.010)") for line in lines(full(auxiliary_curve=whole)))
    (rising,) = (line for line in lines(full(auxiliary_curve=auxiliary_curve(0.17))) if line.startswith("auxiliary"))
    assert rising.startswith(f"{reached.format('0.170')} (the last step, 5 times as many, brings +0.030: still rising")
    for without in (full(auxiliary_curve=()), invalid()):
        assert not any(line.startswith("auxiliary data") for line in lines(without))


def test_without_checks_or_verdicts_that_is_said():
    assert "prove nothing" in sanity_line(full(sanity=[]))
    assert overall(full(verdict=[])) == "No tier was judged: see what was not tested."
    assert lines(full(verdict=[], clients=[], by_client=[], convergence=None, auxiliary_curve=()))[0].startswith(
        "sanity checks passed"
    )
    assert "no proof" not in overall(minimal())


def test_tiers_in_which_no_client_was_are_named_with_the_verdict():
    deep = [{**client, "by_tier": {"3": 2}} for client in clients(4)]
    assert overall(full(clients=deep)).endswith(
        "No client was in tiers 1 and 2 in this run: there they were placed for the audit."
    )
    assert "No client" not in overall(full())


def test_names_from_a_file_neither_steer_the_terminal_nor_are_markup():
    verdict = full().verdict[0].model_copy(update={"attack": "[red]evil[/red]\x1b[2J"})
    text = " ".join(lines(full(verdict=[verdict])))
    assert r"[red]evil[/red]\x1b[2J" in text
    assert "\x1b" not in text


def test_the_most_exposed_come_first_by_the_metric_s_direction_and_those_without_a_figure_last():
    high = [made(0, value=0.2), made(1, value=0.9), made(2, value=None, metric=None), made(3, value=0.9, releases=99)]
    assert [client.client for client in by_exposure(high)] == [3, 1, 0, 2]
    low = [made(0, metric="lpips", value=0.2), made(1, metric="lpips", value=0.9)]
    assert [client.client for client in by_exposure(low)] == [0, 1]


def test_a_row_per_device_with_median_and_worst():
    group = [made(0, value=0.2, releases=10), made(1, value=0.4, releases=30), made(2, value=0.9, releases=20)]
    other = made(3, profile="idle", value=None, metric=None, shallowest=None, releases=0)
    first, last = profile_rows([*group, other])
    assert (first.clients, first.middle, first.worst, first.releases, first.most_releases) == (
        3,
        "0.400",
        "0.900",
        20,
        30,
    )
    assert (last.profile, last.middle, last.worst, last.shallowest, last.metric) == ("idle", "-", "-", None, None)


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (100, 100), (101, 20)])
def test_of_too_many_clients_the_worst_are_shown(count, shown):
    found = shown_clients([made(client, value=client / 1000) for client in range(count)])
    assert len(found) == shown
    assert found[0].client == count - 1


def test_a_bar_has_the_tiers_in_order_of_depth_and_shades_by_it():
    client = made(0, by_tier={"10": 3, "2": 5, "3": 0})
    assert [(part.tier, part.releases, part.shade) for part in segments(client, (1, 2, 3, 4, 10))] == [
        (2, 5, 1),
        (10, 3, 4),
    ]
    assert [part.tier for part in segments(made(0, by_tier={"no tier": 1}), ())] == [0]
