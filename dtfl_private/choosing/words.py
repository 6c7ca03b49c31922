"""What a search found, in words and in rows: for the terminal, the page and notebooks."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dtfl_private.choosing.defense_choice import ALL, NONE, Point
from dtfl_private.choosing.fresh_audit import Difference, FreshAudit
from dtfl_private.choosing.limits import Limit
from dtfl_private.choosing.trial import NO_TIER, NOTHING, Leak, Rules, Standing
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.protocol.assumptions import sentences_of
from dtfl_private.report.words.numbers import listed, number_of

if TYPE_CHECKING:
    from dtfl_private.choosing.written_tuning import Tuning

BLANK = "-"


def point_in_words(point: Point) -> str:
    """Return a point in a few words: what it has besides the untouched configuration's own."""
    shown = [f"{_key(key)}{_value(value)}" for key, value in point.items() if value not in (NONE, ALL)]
    return ", ".join(shown) or "nothing changed"


def _key(key: str) -> str:
    """Return a dimension's name, short: slots are told by the defense that is in them."""
    if key.startswith("train."):
        return f"{key.removeprefix('train.')} "
    return f"{key.partition('.')[2]} " if "." in key else "" if "@" not in key else "at tiers "


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def name_of_trial(stand: Standing) -> str:
    """Return a trial's number and point."""
    if stand.measured.trial == 0:
        return "0: the untouched configuration"
    return f"{stand.measured.trial}: {point_in_words(stand.measured.point)}"


def leak_text(limit: Limit, leak: Leak) -> str:
    """Return the worst that a limit met: value, interval and tier."""
    if leak.source == NO_TIER:
        return "no such tier"
    if leak.value is None or leak.end is None or leak.other_end is None:
        return "not measured" if leak.source == NOTHING else "no guarantee"
    if limit.guaranteed:
        return f"{leak.value:.{limit.digits}f}"
    low, high = sorted((leak.end, leak.other_end))
    figures = f"{leak.value:.{limit.digits}f} ({low:.{limit.digits}f} to {high:.{limit.digits}f})"
    return figures if leak.tier is None else f"{figures}, tier {leak.tier}"


def accuracy_text(stand: Standing) -> str:
    """Return a trial's accuracy, with what it lost."""
    if stand.measured.accuracy is None or stand.accuracy_loss is None:
        return BLANK
    return f"{stand.measured.accuracy:.3f} ({0.0 - stand.accuracy_loss:+.3f})"


def ratio_text(stand: Standing) -> str:
    """Return a trial's time in times of the untouched configuration's."""
    return "target not reached" if stand.time_ratio is None else f"{stand.time_ratio:.2f}x"


def standing_rows(stands: Sequence[Standing], limits: Sequence[Limit]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each trial: its name, accuracy, time, what leaks by each limit, whether it is within."""
    for stand in stands:
        pairs = zip(limits, stand.worst, strict=True)
        leaks = [leak_text(limit, leak) for limit, leak in pairs]
        yield (name_of_trial(stand), accuracy_text(stand), ratio_text(stand), *leaks, "yes" if stand.within else "no")


def standing_columns(limits: Sequence[Limit]) -> tuple[str, ...]:
    """Return the names of the columns of `standing_rows`."""
    return ("trial", "accuracy", "time", *map(str, limits), "within")


def tier_rows(stand: Standing, limits: Sequence[Limit]) -> Iterator[tuple[str, ...]]:
    """Yield what leaks of a trial tier by tier: tier, limit, by what, the figure."""
    by_text = {str(limit): limit for limit in limits}
    for leak in stand.measured.leaks:
        tier = "all" if leak.tier is None else str(leak.tier)
        yield tier, leak.limit, leak.source, leak_text(by_text[leak.limit], leak.model_copy(update={"tier": None}))


def difference_row(one: Difference) -> tuple[str, ...]:
    """Return what the search saw, what the fresh audit sees, and the difference."""
    figures = [BLANK if value is None else f"{value:.3f}" for value in (one.search, one.fresh)]
    if one.difference is None or one.low is None or one.high is None:
        return (one.what, *figures, BLANK)
    return (one.what, *figures, f"{one.difference:+.3f} ({one.low:+.3f} to {one.high:+.3f})")


def broken(stand: Standing, rules: Rules) -> list[str]:
    """Return in words which rules a trial breaks."""
    found = [
        f"{limit}: {leak_text(limit, leak)}"
        for limit, leak, excess in zip(rules.limits, stand.worst, stand.excesses, strict=False)
        if excess > 0
    ]
    lost, slow = stand.excesses[len(rules.limits) :]
    if lost > 0:
        found.append(f"accuracy loss <= {rules.max_accuracy_loss:g}: {accuracy_text(stand)}")
    if slow > 0:
        found.append(f"time ratio <= {rules.max_time_ratio:g}: {ratio_text(stand)}")
    return found


def assumed_lines(config: TrainConfig) -> list[str]:
    """Return what the untouched configuration, and so every trial and audit, takes for granted."""
    return [f"every figure here holds under an assumption: {sentence}" for sentence in sentences_of(config.assume)]


def verdict_of(audit: FreshAudit, rules: Rules) -> str:
    """Return in words what a fresh audit came to."""
    trial = audit.chosen.measured.trial
    if audit.confirmed:
        return f"trial {trial} is confirmed: a fresh audit finds it within all limits"
    if audit.findings is not None and not audit.findings.valid:
        return f"trial {trial} is not confirmed: its fresh audit is invalid, so that it proves nothing"
    return f"trial {trial} is refuted by its fresh audit: {'; '.join(broken(audit.stand, rules))}"


def outcome_text(tuning: "Tuning") -> str:
    """Return what a search came to, in a sentence or two."""
    rules = tuning.request.rules
    confirmed = tuning.recommended
    if confirmed is not None:
        stand = confirmed.stand
        what = "the configuration as it is" if stand.measured.trial == 0 else point_in_words(stand.measured.point)
        return (
            f"recommended: trial {stand.measured.trial} ({what}); a fresh audit confirms it: accuracy "
            f"{accuracy_text(stand)}, time {ratio_text(stand)}, "
            + ", ".join(
                f"{limit}: {leak_text(limit, leak)}" for limit, leak in zip(rules.limits, stand.worst, strict=True)
            )
        )
    if tuning.audits:
        count = number_of(len(tuning.audits), "point")
        return f"none found: the fresh audit of {count} refuted {'it' if len(tuning.audits) == 1 else 'them all'}"
    tried = number_of(len(tuning.first_rung), "trial")
    nearest = [name_of_trial(stand) for stand in tuning.misses[:1]]
    return f"none found: of {tried} none is within all limits; nearest: {listed(nearest) if nearest else 'none ran'}"
