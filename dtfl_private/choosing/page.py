"""report.html of a search: one file, no script, nothing from elsewhere, all text escaped."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from dtfl_private.choosing.frontier_picture import frontier_picture, frontier_text
from dtfl_private.choosing.rungs import Rung
from dtfl_private.choosing.words import (
    assumed_lines,
    difference_row,
    name_of_trial,
    outcome_text,
    standing_columns,
    standing_rows,
    tier_rows,
    verdict_of,
)
from dtfl_private.experiments.config.toml_files import to_toml
from dtfl_private.report.html.environment import environment
from dtfl_private.report.html.top import data_uri
from dtfl_private.report.pictures.themes import DARK, LIGHT, recoloured

if TYPE_CHECKING:
    from dtfl_private.choosing.written_tuning import Tuning


def tuning_page(tuning: "Tuning", rungs: Sequence[Rung]) -> str:
    """Return the page of a search."""
    request, confirmed = tuning.request, tuning.recommended
    chosen = None if confirmed is None else confirmed.chosen.measured.trial
    svg = frontier_picture(tuning.whole, tuning.frontier, request.rules, chosen=chosen, form="svg", theme=LIGHT)
    light, dark = (data_uri(picture, "image/svg+xml") for picture in (svg, recoloured(svg, LIGHT, DARK)))
    page: str = (
        environment()
        .get_template("tune.html")
        .render(
            program=version("dtfl-private"),
            dataset=request.config.dataset,
            model=request.config.model,
            method=request.config.method,
            rules=request.rules,
            outcome=outcome_text(tuning),
            assumed=assumed_lines(request.config),
            confirmed=confirmed is not None,
            columns=standing_columns(request.limits),
            frontier=list(standing_rows(tuning.frontier, request.limits)),
            whole=list(standing_rows(tuning.whole, request.limits)),
            misses=list(standing_rows(tuning.misses, request.limits)),
            tiers=[(name_of_trial(stand), list(tier_rows(stand, request.limits))) for stand in tuning.frontier],
            audits=[
                (verdict_of(one, request.rules), list(map(difference_row, one.differences))) for one in tuning.audits
            ],
            inactive=[
                (name_of_trial(one), ", ".join(one.measured.inactive))
                for one in tuning.first_rung
                if one.measured.inactive
            ],
            refused=[(name_of_trial(one), one.measured.why) for one in tuning.first_rung if not one.measured.ran],
            rungs=[
                rung.line(len(tuning.whole if rung.number == rungs[-1].number else tuning.first_rung)) for rung in rungs
            ],
            light=light,
            dark=dark,
            alt=frontier_text(tuning.frontier, request.rules),
            width=460 * len(request.limits),
            toml=None if tuning.config is None else to_toml(tuning.config),
        )
    )
    return page
