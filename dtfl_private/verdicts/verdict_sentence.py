"""A tier's verdict in words."""

from collections.abc import Container, Mapping, Sequence

from dtfl_private.leakage.metrics import PSNR, find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.verdicts.findings import Convergence, Level

# Lower bounds on epsilon, of a measure and no attack of the audit's: of one release of a record, and of several.
# Positive, they are proven leakage all the same.
PROVEN: Mapping[str, str] = {
    "empirical-epsilon": "epsilon of the smashed data is {value:.1f} at least",
    "empirical-epsilon-cumulated": "epsilon of repeated releases is {value:.1f} at least",
}


SAID: Mapping[str, str] = {
    "ssim": "rebuilds images with an SSIM of {value}",
    "psnr": "rebuilds images with a PSNR of {value} dB",
    "mse": "rebuilds images with a mean squared error of {value}",
    "token-accuracy": "reads texts back with a share of {value} of their tokens right",
    "rouge-l": "reads texts back with a ROUGE-L of {value}",
    "auc": "tells records that were trained on from others with an AUC of {value}",
    "accuracy": "guesses right for {value} of the records",
    "identifiability": "rebuilds {noun} of which {value} can be told among the victims",
    "exact-sequences": "reads {value} of the texts back word for word",
}


def verdict_sentence(
    chosen: Result, decisive: Result | None, by_metric: Mapping[str, Result], proofs: Sequence[Result], level: Level
) -> str:
    """Return a tier's verdict in a sentence.

    Args:
        chosen: the strongest attack's result; a proof where no attack was judged.
        decisive: the result that the level rests on.
        by_metric: the strongest attacks' results.
        proofs: bounds above 0 on epsilon.
        level: of the tier.
    """
    if level == "invalid":
        return "A sanity check failed: what the attacks reached here proves nothing."
    noun = _noun(by_metric)
    parts = [] if chosen.metric in PROVEN else [f"The strongest attack, {_reached(chosen, noun)}"]
    if decisive is not None and decisive is not chosen and decisive.metric not in PROVEN:
        parts.append(f"what decides is that {_reached(decisive, noun, apposition=False)}")
    singled_out, members = by_metric.get("identifiability"), by_metric.get("auc")
    if singled_out is not None and not _already_said(singled_out, (chosen, decisive)):
        parts.append(f"{singled_out.value:.0%} of the {noun} can be told among the victims by it or another attack")
    if members is not None and members not in (chosen, decisive):
        parts.append(f"membership of a record is told with an AUC of {members.value:.2f}")
    if proofs:
        bounds = [PROVEN[proof.metric].format(value=proof.value) for proof in proofs]
        parts.append(f"canaries prove that {', and that '.join(bounds)}")
    if chosen.metric in PROVEN:
        parts = [f"No attack was judged here, but {parts[0]}"]
    closing = "" if level != "not shown to leak" else " That these attacks failed does not show that others would."
    return "; ".join(parts) + "." + closing


def not_converged(convergence: Convergence | None, level: Level) -> str:
    """Return the sentence that a tier's verdict ends with if the attack that was repeated there has not converged."""
    if convergence is None or convergence.converged or level == "invalid":
        return ""
    metric, rise = find_metric(convergence.metric), convergence.psnr
    value, doubled = (f"{figure:.{metric.digits}f}" for figure in (convergence.value, convergence.doubled))
    reached = f"{metric.label} {doubled} instead of {value}"
    if rise is not None:
        reached += f" and PSNR {rise.doubled:.{PSNR.digits}f} dB instead of {rise.value:.{PSNR.digits}f} dB"
    return (
        f" Not converged: with twice the effort {convergence.attack} reaches {reached}, so it leaks at least this; "
        f"audit again with {convergence.remedy}."
    )


def _already_said(result: Result, said: Sequence[Result | None]) -> bool:
    """Whether a figure of the same metric that exposes as much has been named."""
    named = [one for one in said if one is not None and one.metric == result.metric]
    return any(one.value >= result.value for one in named)


def _noun(by_metric: Container[str]) -> str:
    """Return what is rebuilt, by the metrics of attacks."""
    return "texts" if "token-accuracy" in by_metric else "images"


def _reached(result: Result, noun: str, *, apposition: bool = True) -> str:
    """Return what an attack reached; in apposition, as in "The strongest attack, hybrid, rebuilds", with a comma."""
    said = SAID.get(result.metric, f"reaches {find_metric(result.metric).label} of {{value}}")
    return f"{result.source}{',' * apposition} {said.format(value=_figure(result), noun=noun)}{_compared(result)}"


def _figure(result: Result) -> str:
    digits = find_metric(result.metric).digits
    value, low, high = (f"{figure:.{digits}f}" for figure in (result.value, result.ci_low, result.ci_high))
    return f"{value} ({low} to {high})"


def _compared(result: Result) -> str:
    digits = find_metric(result.metric).digits
    compared = []
    if result.baseline is not None:
        compared.append(f"a trivial guess: {result.baseline:.{digits}f}")
    if result.undefended is not None:
        compared.append(f"undefended: {result.undefended:.{digits}f}")
    return f" [{'; '.join(compared)}]" if compared else ""
