"""What keeps the leakage of audited groups from being comparable: unequal accuracy, unequal audits, weak attacks."""

from collections.abc import Iterator, Sequence

from dtfl_private.report.comparison.exposure import EQUAL_WITHIN
from dtfl_private.report.comparison.groups import Group
from dtfl_private.report.words.numbers import listed


def leakage_notes(groups: Sequence[Group]) -> Iterator[str]:
    """Yield what a reader must know of the leakage of groups on one footing, as far as they were audited."""
    audited = [group for group in groups if group.exposures]
    if len(audited) > 1:
        yield from _unequal_accuracy(audited)
        yield from _unequal_audits(audited)
    if rising := [group.name for group in audited if any(one.converged is False for one in group.exposures)]:
        yield f"attacks on {listed(rising)} have not converged: these leak at least as much as is shown"
    if audited and (unknown := [group.name for group in groups if not group.exposures]):
        yield f"no audit of {listed(unknown)} can be used: what they leak is not known, which is not nothing"
    if partly := [group.name for group in audited if len(group.exposures) < len(group.runs)]:
        yield f"not all runs of {listed(partly)} were audited: their leakage is that of the others"


def _unequal_accuracy(audited: Sequence[Group]) -> Iterator[str]:
    means = {group.name: sum(one.accuracy for one in group.exposures) / len(group.exposures) for group in audited}
    least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    apart = means[most] - means[least]
    if apart > EQUAL_WITHIN:
        yield (
            f"WARNING: leakage is not compared at equal accuracy: audited runs of {most} have {means[most]:.4f}, those "
            f"of {least} {means[least]:.4f}, which is {apart:.4f} apart and more than {EQUAL_WITHIN:g}"
        )


def _unequal_audits(audited: Sequence[Group]) -> Iterator[str]:
    terms = [one.terms for group in audited for one in group.exposures]
    for what in terms[0]:
        if len(values := dict.fromkeys(own[what] for own in terms)) > 1:
            yield f"WARNING: the audits differ in {what}: {listed(list(values))}"
