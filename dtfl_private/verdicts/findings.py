"""What an audit found, as one value: the contents of audit.json, whose JSON Schema is docs/audit.schema.json."""

from typing import Annotated, Literal

from pydantic import Field

from dtfl_private.leakage.results.result import (
    MAX_RESULTS,
    SCHEMA_VERSION,
    Finite,
    Name,
    Positive,
    Result,
    SettingValue,
)
from dtfl_private.verdicts.about import About
from dtfl_private.verdicts.auxiliary_point import AuxiliaryPoint
from dtfl_private.verdicts.client_comparison import ClientComparison
from dtfl_private.verdicts.example import Example
from dtfl_private.verdicts.strict import Strict
from dtfl_private.verdicts.text_example import TextExample

Text = Annotated[str, Field(max_length=4000)]
# With settings, two of which may be paths.
Specification = Annotated[str, Field(min_length=1, max_length=10_000)]
Count = Annotated[int, Field(ge=0)]
Shape = Annotated[tuple[Positive, ...], Field(min_length=1, max_length=8, strict=False)]
GalleryFile = Annotated[str, Field(max_length=250, pattern=r"^tier-[1-9][0-9]*-[^/\\]+\.png$")]
Share = Annotated[float, Field(ge=0, le=1)]

Level = Literal["exposed", "partly exposed", "not shown to leak", "invalid"]
"""What a tier's verdict comes to. None of them is "safe": an attack that failed proves nothing."""

LEVELS: tuple[Level, ...] = ("not shown to leak", "partly exposed", "exposed")
"""Those of a valid audit, from the mildest on."""


class Threat(Strict):
    """An adversary that was played.

    Attributes:
        adversary: its name.
        who: in words.
        capabilities: what it sees and may do, in words.
    """

    adversary: Name
    who: Text
    capabilities: Annotated[tuple[Text, ...], Field(max_length=50, strict=False)]


class Training(Strict):
    """The run that was audited, as far as its leakage depends on it.

    Attributes:
        dataset, model: specifications.
        method: name.
        norm: of the network.
        wire: format of the smashed data, or "scheduled"; None in files of older versions.
        partition, scheduler: specifications.
        clients, rounds, seed: of the run.
        defense: specifications, in the order in which they are applied; empty for none.
        test_accuracy: of the global model after the last round.
        undefended_accuracy: of the same run without defenses, where that was trained.
        tiers: all that the run's scheduler could choose.
    """

    dataset: Specification
    model: Specification
    norm: Name
    wire: Literal["fp32", "bf16", "int8", "int4", "scheduled"] | None = None
    method: Name
    partition: Name
    scheduler: Name
    clients: Positive
    rounds: Positive
    seed: int
    defense: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=50, strict=False)]
    test_accuracy: Share
    undefended_accuracy: Share | None
    tiers: Annotated[tuple[Positive, ...], Field(max_length=1000, strict=False)]


class SanityCheck(Strict):
    """An attack that must succeed, or the audit's other attacks prove nothing.

    Attributes:
        name: "identity" (the smashed data are the inputs themselves), "md1" (the shallowest cut, undefended),
            "update" (that of one record, in one step of a small untrained network) or "random" (the smashed data are
            random numbers, of which nobody can read anything).
        attack: the strongest that was run.
        metric: that must reach ``needed``; of "random", that must not be surely beyond it.
        value: that it reached.
        passed: whether it did.
    """

    name: Literal["identity", "md1", "update", "random"]
    attack: Name
    metric: Name
    value: Finite
    needed: Finite
    passed: bool


class PsnrRise(Strict):
    """How the mean PSNR, in dB, rises with twice the effort; what SSIM does not show of images that are all but exact.

    Attributes:
        value: with the audit's effort; mean over the victims of the first repetition.
        doubled: with twice the effort, on the same victims.
        margin: by how much ``doubled`` may be above ``value``.
        exact: a ``value`` from which on no rise counts: such images are exact for every purpose.
    """

    value: Finite
    doubled: Finite
    margin: Annotated[Finite, Field(ge=0)]
    exact: Finite

    @property
    def converged(self) -> bool:
        """Whether twice the effort brings no more than the margin, or what there is already suffices."""
        return self.value >= self.exact or self.doubled <= self.value + self.margin


class Convergence(Strict):
    """One attack once more with twice the effort: whether it reaches more than the audit says.

    Attributes:
        tier: client modules m.
        attack: that was repeated, the strongest reconstruction there.
        metric: by which the two are compared.
        value: with the audit's effort; mean over the victims of the first repetition.
        doubled: with twice the effort, on the same victims.
        margin: by how much ``doubled`` may be above ``value``.
        converged: whether it is no more than that, by ``psnr`` either.
        remedy: how more effort is asked for, in words.
        psnr: the same by PSNR; None of texts, and in files of older versions, which judged by SSIM alone.
    """

    tier: Positive
    attack: Name
    metric: Literal["ssim", "token-accuracy"]
    value: Finite
    doubled: Finite
    margin: Annotated[Finite, Field(ge=0)]
    converged: bool
    remedy: Text
    psnr: PsnrRise | None = None


class TierVerdict(Strict):
    """What a tier comes to: the strongest attack, what it reached, and which result decided.

    Of a tier with a proof but no attack, the proof is both.

    Attributes:
        tier: client modules m.
        cut: shape of one record's activations.
        level: in a word; see docs/explanation/verdict.md for the thresholds.
        attack: the strongest; the measure, where there was none.
        strongest: its result.
        decided_by: the result that the level rests on; None if nothing was shown, or in files of older versions.
        sentence: the verdict in words.
    """

    tier: Positive
    cut: Shape
    level: Level
    attack: Name
    strongest: Result
    decided_by: Result | None = None
    sentence: Text


class Chance(Strict):
    """How often an audit of a run that leaks nothing would call some tier exposed or partly exposed, at most.

    Attributes:
        tests: results that could have decided a verdict.
        level: p-value that each needed.
        false_alarm_rate: of all of them together, at most.
    """

    tests: Count
    level: Share
    false_alarm_rate: Share


class ClientExposure(Strict):
    """What one client sent over the run.

    Attributes:
        client: id.
        profile: its device in the last round.
        records: N_k.
        releases: how often each of its records was sent, at most; by tier in ``by_tier``.
        by_tier: tier to the releases of each record there.
        rounds: rounds that it took part in.
        shallowest: the shallowest tier in which it sent activations; None if it never did.
        metric: by which ``value`` is measured; None where no reconstruction was judged.
        value: the strongest reconstruction at the most exposing of its tiers.
    """

    client: Count
    profile: Name
    records: Count
    releases: Count
    by_tier: dict[Name, Count]
    rounds: Count
    shallowest: Positive | None
    metric: Name | None
    value: Finite | None


class Guaranteed(Strict):
    """What may truthfully be said of one kind of data that left the clients; see `privacy.disclosure`."""

    what: Literal["weights", "smashed", "labels", "statistics"]
    epsilon: Finite | None
    delta: Finite | None
    per: Text | None
    sentence: Text
    client: Count | None


class NotTested(Strict):
    """Something that the audit left out.

    Attributes:
        what: attack, measure or condition.
        why: in words.
    """

    what: Text
    why: Text


class Compared(Strict):
    """The same figure of this run and of another: strongest attack per tier and metric, or a measure.

    Attributes:
        apart: whether the two intervals do not overlap.
    """

    tier: Positive
    metric: Name
    this: Result
    other: Result
    apart: bool


class Comparison(Strict):
    """This run compared with another.

    Attributes:
        run: the other's folder.
        training: the other.
        rows: tier by tier.
    """

    run: Text
    training: Training
    rows: Annotated[tuple[Compared, ...], Field(max_length=MAX_RESULTS, strict=False)]


class Findings(Strict):
    """All that audit.json holds.

    Attributes:
        schema_version: of this layout.
        program: version of this program.
        run: folder of the run.
        round: that was attacked.
        preset: quick or thorough.
        settings: of the audit, by name.
        training: the run.
        threat_model: adversaries that were played.
        auxiliary: the adversary's knowledge, in words.
        victims: images that were attacked at each tier.
        aux: auxiliary images.
        valid: whether all sanity checks passed.
        sanity: the checks.
        convergence: of one attack; None where no reconstruction was judged, and in files of older versions.
        by_client: clients compared, tier by tier and attack by attack; empty where that was not asked for or cannot be,
            and in files of older versions.
        auxiliary_curve: one attack at one tier by the number of auxiliary images, ascending, metric by metric; empty
            where that was not asked for, and in files of older versions.
        results: of attacks, trivial guesses and measures.
        as_scheduled: results on clients in the tiers in which they really were.
        strongest: of ``results``, the most exposing of all attacks for each tier and metric.
        verdict: tier by tier.
        chance: of a false alarm in the verdict; None in files of older versions.
        clients: exposure of each.
        guarantees: sentences that may be said.
        not_tested: what was left out.
        compared: with another run.
        repeat: commands that repeat run and audit.
        environment: versions and machine.
        about: title, organisation, date and data set for people; None in files of older versions.
        examples: victims that the report shows, tier by tier; empty where no image was rebuilt, and in files of older
            versions.
        texts: likewise, where records are texts.
        galleries: files of the pictures of reconstructions, in the folder of the audit's attacks; likewise.
        assumed: what was taken for granted and not shown, by name; nothing in files of older versions.
    """

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)] = SCHEMA_VERSION
    program: Name
    run: Text
    round: Positive
    preset: Name
    settings: Annotated[dict[Name, SettingValue], Field(max_length=100)]
    training: Training
    threat_model: Annotated[tuple[Threat, ...], Field(max_length=50, strict=False)]
    auxiliary: Text
    victims: Positive
    aux: Count
    valid: bool
    sanity: Annotated[tuple[SanityCheck, ...], Field(max_length=50, strict=False)]
    convergence: Convergence | None = None
    auxiliary_curve: Annotated[tuple[AuxiliaryPoint, ...], Field(max_length=100, strict=False)] = ()
    by_client: Annotated[tuple[ClientComparison, ...], Field(max_length=2000, strict=False)] = ()
    results: Annotated[tuple[Result, ...], Field(max_length=MAX_RESULTS, strict=False)]
    as_scheduled: Annotated[tuple[Result, ...], Field(max_length=MAX_RESULTS, strict=False)]
    strongest: Annotated[tuple[Result, ...], Field(max_length=MAX_RESULTS, strict=False)]
    verdict: Annotated[tuple[TierVerdict, ...], Field(max_length=1000, strict=False)]
    chance: Chance | None = None
    clients: Annotated[tuple[ClientExposure, ...], Field(max_length=1_000_000, strict=False)]
    assumed: Annotated[tuple[Name, ...], Field(max_length=10, strict=False)] = ()
    guarantees: Annotated[tuple[Guaranteed, ...], Field(max_length=50, strict=False)]
    not_tested: Annotated[tuple[NotTested, ...], Field(max_length=1000, strict=False)]
    compared: Comparison | None = None
    repeat: Annotated[tuple[Text, ...], Field(max_length=50, strict=False)]
    environment: Annotated[dict[Name, SettingValue], Field(max_length=100)]
    about: About | None = None
    examples: Annotated[tuple[Example, ...], Field(max_length=100, strict=False)] = ()
    texts: Annotated[tuple[TextExample, ...], Field(max_length=2000, strict=False)] = ()
    galleries: Annotated[tuple[GalleryFile, ...], Field(max_length=2000, strict=False)] = ()

    @property
    def judged(self) -> tuple[Result, ...]:
        """All results that a gate or a budget judges by: of clients placed in every tier, and as scheduled."""
        return (*self.results, *self.as_scheduled)
