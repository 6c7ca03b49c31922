"""The top of a report: title, who made it and when, the badge of each tier, and a row of pictures or two."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from dtfl_private.leakage.metrics import find_metric
from dtfl_private.report.words.headline import tiers_text
from dtfl_private.report.words.names import dataset_name
from dtfl_private.verdicts.about import About
from dtfl_private.verdicts.example import VIEWS, Example, View
from dtfl_private.verdicts.findings import Findings, Level
from dtfl_private.verdicts.selected_results import by_tier, is_valid

EACH_TIER = 4
"""With more tiers, those in a row with the same verdict share a badge."""

APART = 0.1
"""Pictures of the least exposed tier are shown too if its level differs, or its mean SSIM by this much."""

COARSE_SIDE = 64
"""Pixels; smaller pictures are enlarged without smoothing."""

ROWS: Mapping[View, str] = {"true": "true", "rebuilt": "rebuilt", "guess": "guess"}


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A column of a row of pictures: what it is called where it is not seen, and the name of its class."""

    name: str
    label: str | None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Victims of one tier: true images, reconstructions and guesses, as ``data:`` URIs row by row.

    ``coarse`` pictures have so few pixels that they are shown as squares; ``labelled`` if classes have names.
    """

    caption: str
    victims: Sequence[Victim]
    rows: Sequence[tuple[str, Sequence[str]]]
    coarse: bool
    labelled: bool


@dataclass(frozen=True, kw_only=True)
class Top:
    """What stands on top besides the sentences.

    Attributes:
        title: heading.
        subtitle: what was trained, below a heading of the user's own.
        by: who ran the audit.
        date, day: of the audit, for programs and for people.
        tiers: names of tiers, with their level.
        explains_tier: whether there is more than one tier.
        leaks: whether anything was shown to leak.
        strips: pictures.
    """

    title: str
    subtitle: str | None
    by: str | None
    date: str | None
    day: str | None
    tiers: Sequence[tuple[str, Level]]
    explains_tier: bool
    leaks: bool
    strips: Sequence[Strip]


def top_of(findings: Findings, pictures: Mapping[str, bytes]) -> Top:
    """Return the top of a report; ``pictures`` are those of the examples, PNG files by name."""
    about = findings.about or About()
    trained = trained_text(findings)
    valid = is_valid(findings)
    return Top(
        title=about.title or trained,
        subtitle=trained if about.title else None,
        by=about.organisation,
        date=about.date,
        day=_day(about.date),
        tiers=grouped_tiers(findings),
        explains_tier=len({verdict.tier for verdict in findings.verdict} | set(findings.training.tiers)) > 1,
        leaks=valid and any(verdict.level in ("exposed", "partly exposed") for verdict in findings.verdict),
        strips=[_strip(examples, pictures) for examples in shown_examples(findings)] if valid else [],
    )


def trained_text(findings: Findings) -> str:
    """Return what was trained, for example "digits, resnet-8, dtfl, with gaussian-noise"."""
    training = findings.training
    data = (findings.about.dataset if findings.about else None) or dataset_name(training.dataset)
    parts = [data, dataset_name(training.model), dataset_name(training.method)]
    defenses = " and ".join(dataset_name(defense) for defense in training.defense)
    return ", ".join(parts) + (f", with {defenses}" if defenses else "")


def grouped_tiers(findings: Findings) -> list[tuple[str, Level]]:
    """Return tiers by name with their level; of many, those in a row with one level together."""
    verdicts = by_tier(findings.verdict)
    if len(verdicts) <= EACH_TIER:
        return [(f"Tier {verdict.tier}", verdict.level) for verdict in verdicts]
    groups: list[tuple[list[int], Level]] = []
    for verdict in verdicts:
        if groups and groups[-1][1] == verdict.level:
            groups[-1][0].append(verdict.tier)
        else:
            groups.append(([verdict.tier], verdict.level))
    return [(tiers_text(tiers).capitalize(), level) for tiers, level in groups]


def shown_examples(findings: Findings) -> list[list[Example]]:
    """Return examples of the most exposed tier, and of the least exposed one where that differs."""
    tiers = list(dict.fromkeys(example.tier for example in findings.examples))
    grouped = [[example for example in findings.examples if example.tier == tier] for tier in tiers]
    if len(grouped) < 2:
        return grouped
    verdicts = {verdict.tier: verdict for verdict in findings.verdict}
    ssim = {one.tier: one.value for one in findings.strongest if one.metric == "ssim"}
    first, last = tiers[0], tiers[-1]
    same_level = first in verdicts and last in verdicts and verdicts[first].level == verdicts[last].level
    near = abs(ssim.get(first, 0.0) - ssim.get(last, 0.0)) < APART
    return grouped[:1] if same_level and near else [grouped[0], grouped[-1]]


def _strip(examples: Sequence[Example], pictures: Mapping[str, bytes]) -> Strip:
    first = examples[0]
    shown = len(examples)
    ssim = find_metric("ssim")
    return Strip(
        caption=(
            f"Tier {first.tier}: {shown} of {first.victims} attacked images, from the best rebuilt to the worst. "
            "Guess: made without what clients sent."
        ),
        victims=[
            Victim(
                name=f"image {one.place}{f', {one.label}' if one.label else ''}, {ssim.label} {one.ssim:.2f}",
                label=one.label,
            )
            for one in examples
        ],
        rows=[(ROWS[view], [data_uri(pictures[one.file(view)], "image/png") for one in examples]) for view in VIEWS],
        coarse=max(png_size(pictures[first.file("true")])) <= COARSE_SIDE,
        labelled=any(one.label for one in examples),
    )


def png_size(picture: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file, from its header."""
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as a ``data:`` URI of a media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _day(text: str | None) -> str | None:
    """Return a day as people write it: "29 November 2026"; as it is, if there is no such day."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


# Whatever language the machine speaks.
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
