"""The report of an audit as one HTML file: no script, nothing from elsewhere, all text from findings escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.leakage.results.result import Result
from dtfl_private.report.html.environment import environment, setting_text
from dtfl_private.report.html.picture_text import accuracy_leakage_text, auxiliary_curve_alt, by_tier_text
from dtfl_private.report.html.sections import WITH_FIGURES, sections_of
from dtfl_private.report.html.top import data_uri, top_of
from dtfl_private.report.pictures.accuracy_leakage import accuracy_leakage_picture, accuracy_leakage_series
from dtfl_private.report.pictures.audit import by_tier_picture, drawn_results
from dtfl_private.report.pictures.auxiliary_curve import DRAWN, auxiliary_curve_picture
from dtfl_private.report.pictures.by_client import by_client_picture, drawn_clients, picture_height
from dtfl_private.report.pictures.themes import DARK, LIGHT, recoloured
from dtfl_private.report.tables.exposure import profile_rows, shown_clients
from dtfl_private.report.words import audit, meanings
from dtfl_private.report.words.assumed import assumed_sentences
from dtfl_private.report.words.by_client import by_client_lines, comparison_text
from dtfl_private.report.words.claims import nouns
from dtfl_private.report.words.glossary import FirstUses
from dtfl_private.report.words.headline import headline, tier_sentence
from dtfl_private.report.words.results import attack_labels
from dtfl_private.verdicts import selected_results as selection
from dtfl_private.verdicts.client_comparison import ClientComparison, ClientLeakage
from dtfl_private.verdicts.findings import Compared, Findings, Training
from dtfl_private.verdicts.text_example import TextExample

# Metrics shown of clients where they really were; the last table has all.
SCHEDULED = (
    *("psnr", "ssim", "ssim-worst-5", "lpips", "token-accuracy", "rouge-l", "exact-sequences"),
    *("identifiability", "classifier-accuracy"),
)

# Longer lists fill pages on paper: of clients the most exposed are printed, of results none.
MOST_PRINTED = 20
MOST_RESULTS = 80


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture in two colour schemes as ``data:`` URIs, and what it shows in words and in figures."""

    title: str
    light: str
    dark: str
    alt: str
    metric: str
    rows: Sequence[tuple[str, Result]]


@dataclass(frozen=True, kw_only=True)
class ComparedClients:
    """How clients compare: in sentences, and the comparison with the smallest p-value as a picture and in figures."""

    lines: Sequence[str]
    drawn: Drawn
    one: ClientComparison
    shown: Sequence[ClientLeakage]
    caption: str
    height: int


@dataclass(frozen=True, kw_only=True)
class MeasureTable:
    """What a measure says: a row for each metric, a cell for each tier, None where it says nothing."""

    source: str
    tiers: Sequence[int]
    rows: Sequence[tuple[str, Sequence[Result | None]]]


def audit_page(findings: Findings, galleries: Mapping[str, bytes], examples: Mapping[str, bytes]) -> str:
    """Return report.html.

    Args:
        findings: all that the audit found; text in them may come from anybody.
        galleries: pictures of reconstructions, PNG files by name; see `Findings.galleries`.
        examples: pictures of the victims on top, likewise; those that `Findings.examples` names.
    """
    content = {
        "trade": _trade(findings),
        "by_tier": [_by_tier(findings, metric) for metric in selection.drawn_metrics(findings)],
        "curve": _auxiliary_curve(findings),
        "by_client": _by_client(findings),
        "scheduled": _scheduled(findings),
        "galleries": galleries_by_tier(galleries),
        "texts": texts_by_tier(findings),
        "measures": _measures(findings),
        "results": _in_order(findings.results),
    }
    template = environment().get_template("audit.html")
    page: str = template.render(
        f=findings,
        assumed=assumed_sentences(findings),
        t=findings.training,
        top=top_of(findings, examples),
        head=headline(findings),
        sections=sections_of(findings, content),
        with_figures=WITH_FIGURES,
        first_uses=FirstUses(),
        noun=nouns(findings),
        valid=selection.is_valid(findings),
        failed=selection.failed_checks(findings),
        weak=_weak(findings),
        verdicts=selection.by_tier(findings.verdict),
        plain={verdict.tier: tier_sentence(findings, verdict) for verdict in findings.verdict},
        has_undefended=any(result.undefended is not None for result in findings.strongest),
        level_meanings=_level_meanings(findings),
        false_alarms=audit.false_alarms(findings),
        series=accuracy_leakage_series(findings),
        drawn_says=_drawn_says(findings),
        curve_says=audit.auxiliary_curve_text(findings),
        clients=shown_clients(findings.clients),
        profiles=profile_rows(findings.clients),
        differences=_differences(findings),
        compared=_compared(findings),
        not_tested=_not_tested(findings),
        texts_named=any(not piece.isdigit() for one in findings.texts for piece in one.pieces),
        most_printed=MOST_PRINTED,
        most_results=MOST_RESULTS,
        **content,
    )
    return page


def galleries_by_tier(galleries: Mapping[str, bytes]) -> list[tuple[int, list[tuple[str, str]]]]:
    """Return pictures of reconstructions by tier: captions and ``data:`` URIs."""
    found: dict[int, list[tuple[str, str]]] = {}
    for name, picture in galleries.items():
        _, tier, attacks = name.removesuffix(".png").split("-", 2)
        found.setdefault(int(tier), []).append((attacks.replace("-", " "), data_uri(picture, "image/png")))
    return sorted(found.items())


def texts_by_tier(findings: Findings) -> list[tuple[int, list[TextExample]]]:
    """Return the texts that are shown, by tier."""
    found: dict[int, list[TextExample]] = {}
    for one in findings.texts:
        found.setdefault(one.tier, []).append(one)
    return sorted(found.items())


def _level_meanings(findings: Findings) -> dict[str, str]:
    """Return what the levels mean that the verdicts have, from the worst on."""
    if not selection.is_valid(findings):
        return {"invalid": meanings.LEVEL_MEANING["invalid"]}
    there = {verdict.level for verdict in findings.verdict}
    return {level: text for level, text in meanings.LEVEL_MEANING.items() if level in there}


def _drawn_says(findings: Findings) -> str:
    """Return what the lines of the pictures by tier are, of those that there are."""
    drawn = [result for metric in selection.drawn_metrics(findings) for result in drawn_results(findings, metric)]
    bare = any(result.undefended is not None for result in drawn)
    guesses = any(selection.is_guess(result) or result.baseline is not None for result in drawn)
    also = ["dotted: what they reach undefended"] * bare + ["grey: trivial guesses"] * guesses
    says = "Lines are the attacks that are the strongest on some tier, bars their 95% intervals"
    return "; ".join([says, *also]) + "."


def _not_tested(findings: Findings) -> list[tuple[str, list[str]]]:
    """Return what was left out, each thing once, with all reasons."""
    found: dict[str, list[str]] = {}
    for one in findings.not_tested:
        found.setdefault(one.what, []).append(one.why)
    return list(found.items())


def _weak(findings: Findings) -> list[str]:
    """Return in what the verdicts rest on attacks that are weaker than they could be."""
    fallen = audit.fell_back_text(findings)
    said = [] if fallen is None else [f"Fell back to a trivial guess: {fallen}"]
    if findings.convergence is not None and not findings.convergence.converged:
        said.append(f"Convergence: {audit.convergence_text(findings.convergence)}")
    return said


def _trade(findings: Findings) -> Drawn | None:
    """Return accuracy against leakage, where there is another training to compare with."""
    metric = selection.leakage_metric(findings)
    if metric is None or len(accuracy_leakage_series(findings)) < 2:
        return None
    picture = accuracy_leakage_picture(findings, form="svg", theme=LIGHT)
    return _drawn("Test accuracy against leakage", picture, accuracy_leakage_text(findings), metric, [])


def _by_tier(findings: Findings, metric: str) -> Drawn:
    shown = drawn_results(findings, metric)
    picture = by_tier_picture(findings, metric, form="svg", theme=LIGHT)
    rows = list(zip(attack_labels(shown), shown, strict=True))
    return _drawn(find_metric(metric).label, picture, by_tier_text(findings, metric), metric, rows)


def _auxiliary_curve(findings: Findings) -> Drawn | None:
    if audit.auxiliary_curve_text(findings) is None:
        return None
    picture = auxiliary_curve_picture(findings, form="svg", theme=LIGHT)
    rows = [(f"{point.images:,}", point.result) for metric in DRAWN for point in selection.curve_of(findings, metric)]
    return _drawn(
        "Leakage against the attacker's data",
        picture,
        auxiliary_curve_alt(findings),
        selection.curve_metric(findings),
        rows,
    )


def _by_client(findings: Findings) -> ComparedClients | None:
    if not findings.by_client:
        return None
    one = min(findings.by_client, key=lambda one: (one.adjusted, one.p_value, one.tier))
    shown, says = drawn_clients(one), comparison_text(one)
    drawn = _drawn("Clients compared", by_client_picture(one, form="svg", theme=LIGHT), says, one.metric, [])
    caption = f"Tier {one.tier}, {one.attack}, {find_metric(one.metric).label}: the comparison with the smallest p"
    height = round(picture_height(one) * 100)
    return ComparedClients(
        lines=by_client_lines(findings), drawn=drawn, one=one, shown=shown, caption=f"{caption}.", height=height
    )


def _drawn(title: str, svg: bytes, alt: str, metric: str, rows: Sequence[tuple[str, Result]]) -> Drawn:
    """Return a picture that was drawn in the light theme."""
    light, dark = (data_uri(picture, "image/svg+xml") for picture in (svg, recoloured(svg, LIGHT, DARK)))
    return Drawn(title=title, light=light, dark=dark, alt=alt, metric=metric, rows=rows)


def _scheduled(findings: Findings) -> list[tuple[Result, Result | None]]:
    """Return the results on clients where they really were, each with the same result for all clients in that tier."""
    whole = {_key(result): result for result in findings.results}
    shown = [result for result in _in_order(findings.as_scheduled) if result.metric in SCHEDULED]
    chosen = shown or _in_order(findings.as_scheduled)
    return [(result, whole.get(_key(result))) for result in chosen]


def _key(result: Result) -> tuple[object, ...]:
    return result.tier, result.source, result.metric, result.adversary, result.adaptive


def _measures(findings: Findings) -> list[MeasureTable]:
    """Return the results of measures that mount no attack, by source, metric and tier."""
    found: dict[str, dict[str, dict[int, Result]]] = {}
    for result in findings.results:
        if selection.is_measure(result):
            found.setdefault(result.source, {}).setdefault(result.metric, {})[result.tier] = result
    tables = []
    for source, metrics in found.items():
        tiers = sorted({tier for own in metrics.values() for tier in own})
        rows = [(metric, [own.get(tier) for tier in tiers]) for metric, own in sorted(metrics.items())]
        tables.append(MeasureTable(source=source, tiers=tiers, rows=rows))
    return tables


def _in_order(results: Sequence[Result]) -> list[Result]:
    """Return results by tier, within it attacks before guesses before measures, otherwise as they came."""
    return sorted(results, key=lambda one: (one.tier, selection.is_guess(one), selection.is_measure(one)))


def _differences(findings: Findings) -> list[tuple[str, str, str]]:
    """Return in what the two compared trainings differ: name, of this, of the other."""
    if findings.compared is None:
        return []
    rows = [
        (name.replace("_", " "), _field(findings.training, name), _field(findings.compared.training, name))
        for name in Training.model_fields
    ]
    return [row for row in rows if row[1] != row[2]]


def _field(training: Training, name: str) -> str:
    value = getattr(training, name)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:.4f}" if isinstance(value, float) else setting_text(value)


def _compared(findings: Findings) -> list[Compared]:
    rows = findings.compared.rows if findings.compared else ()
    return sorted(rows, key=lambda row: row.tier)
