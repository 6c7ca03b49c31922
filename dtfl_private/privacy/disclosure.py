"""What may truthfully be said of everything that has left the clients: one entry per guarantee, and what has none."""

from collections.abc import Collection, Mapping, Sequence

from dtfl_private.data.registration import Statistics
from dtfl_private.privacy.accounting import worst
from dtfl_private.privacy.ledger import Ledger
from dtfl_private.protection.base import Defense, Place, name_of
from dtfl_private.protection.conditional import Conditional
from dtfl_private.protection.cost import RoundRelease
from dtfl_private.protection.defense_chain import DefenseChain
from dtfl_private.protection.defense_rule import Case
from dtfl_private.protection.where_words import where_words
from dtfl_private.protocol.assumptions import AssumptionName, sentences_of
from dtfl_private.protocol.guarantees import Disclosed, Disclosure, NoisyInputs, Protected

ACTING_ON: Mapping[Protected, frozenset[Place]] = {
    "weights": frozenset({"weights", "training"}),
    "smashed": frozenset({"input", "activations", "loss", "smashed"}),
    "labels": frozenset({"labels"}),
}
EVERYTHING: tuple[Protected, ...] = ("smashed", "labels", "weights")
NOUN: Mapping[Protected, str] = {"smashed": "smashed data", "labels": "labels", "weights": "weight updates"}
# A round in which everything leaves: what is guaranteed of it shows which kinds of data have a guarantee at all.
ONE_ROUND = RoundRelease(records=1, batch_size=1, steps=1, epochs=1)
CENTRAL = "the server holds all inputs and labels themselves"
IN_CLEAR = "{} are sent in clear"
NOTHING = "smashed data and labels are sent in clear"
NOT_SENT = (
    "labels are not sent, but the gradients at the input of the clients' last modules are, in clear: with the weights "
    "of these modules, which the server averages, they tell the labels"
)
EXCEPT = ", except by clients that keep the whole network"
STATISTICS: Mapping[Statistics, str] = {
    "client-sums": "each client's pixel count, sum and sum of squares per channel are sent once, in clear",
    "pooled": "the mean and deviation that images are normalised by are computed from all clients' pixels pooled, "
    "which a real federation cannot do",
}
TEXTS_SENT = (
    "the labels of next-token training are the texts: clients send all but the first token of each to the server in "
    "plain, whatever defenses do to activations, and no epsilon covers that"
)
TEXTS_STAY = "the labels of next-token training are the texts: what tells the labels tells the texts"
CLASS_COUNTS = "each client's number of images of each class is sent once, in clear, for the weights of the classes"
NOISY_WEIGHTS = "weight updates are computed from noisy images and labels alone: the epsilon of the images covers them"
UNCOVERED = "; no epsilon covers them"


def disclosures(
    defense: DefenseChain,
    ledgers: Mapping[int, Ledger],
    *,
    sends: Collection[Protected] = EVERYTHING,
    full_tier: bool = False,
    statistics: Statistics | None = None,
    assumed: Collection[AssumptionName] = (),
    next_tokens: bool = False,
) -> list[Disclosure]:
    """Return what the ledgers of all clients add up to, and a sentence for each kind that is sent without a guarantee.

    Args:
        defense: of every client; weights of classes in its loss come from counts that clients sent.
        ledgers: what each client has spent.
        sends: what leaves the clients at all; nothing where there are none, and the data are at the server.
        full_tier: whether clients may keep the whole network, and then send weights alone.
        assumed: what is taken for granted of what the server sees: said of the weights, with what else holds of them.
        next_tokens: whether the labels are the tokens of the texts themselves.
        statistics: where the mean and deviation come from that images are normalised by, if from the clients' images.
    """
    found: list[Disclosure] = [
        Disclosure(what=s.what, epsilon=s.epsilon, delta=s.delta, per=s.per, sentence=s.sentence, client=client)
        for client, s in worst(ledgers)
    ]
    covered = {entry["what"] for entry in found}
    bare = {
        what: unprotected(defense, what, sends, full_tier) for what in NOUN if what in sends and what not in covered
    }
    if "smashed" in sends and "labels" not in sends and "labels" not in covered:
        bare["labels"] = unprotected(defense, "labels", sends, full_tier)
    if assumed and bare.get("weights") == IN_CLEAR.format(NOUN["weights"]):  # what is assumed says who sees them
        del bare["weights"]
    if not sends:
        bare = {"smashed": CENTRAL, "labels": CENTRAL}
    said: list[tuple[Disclosed, str]] = []
    if next_tokens and "smashed" in sends:
        said.append(("labels", TEXTS_SENT if "labels" in sends else TEXTS_STAY))
    said += [*bare.items(), *(("weights", each) for each in sentences_of(assumed))]
    if statistics is not None:
        uncovered = UNCOVERED if defense.unruled.guarantees(ONE_ROUND) else ""
        said.append(("statistics", STATISTICS[statistics] + uncovered))
    if defense.class_weights is not None and sends:  # no defense with a guarantee goes with them
        said.append(("statistics", CLASS_COUNTS))
    for what, sentence in said:
        found.append(Disclosure(what=what, epsilon=None, delta=None, per=None, sentence=sentence, client=None))
    return found


def _noisy_images_alone(defense: DefenseChain) -> bool:
    """Whether all that every client computes comes from noisy images, wherever it is."""
    everywhere = (member for member in defense.defenses if not isinstance(member, Conditional))
    return any(isinstance(stated, NoisyInputs) for member in everywhere for stated in member.guarantees(ONE_ROUND))


def unprotected(defense: DefenseChain, what: Protected, sends: Collection[Protected], full_tier: bool) -> str:
    """Return the sentence for a kind of data on which nothing has been guaranteed (yet)."""
    acting = _acting(defense, what)
    if what == "weights" and _noisy_images_alone(defense):
        return NOISY_WEIGHTS
    if any(stated.what == what for stated in defense.unruled.guarantees(ONE_ROUND)):
        return f"no {NOUN[what]} have been released under {_names(acting)} yet"
    if any(isinstance(member, Conditional) for member in acting):
        return f"{NOUN[what]} {_by_case(defense, what)}: no formal guarantee"
    if acting:
        return f"{NOUN[what]} pass {_names(acting)}: no formal guarantee"
    exception = EXCEPT if full_tier and what != "weights" else ""
    if what == "labels" and what not in sends:  # the client computes the loss, and sends its gradient
        return NOT_SENT
    if (
        {"smashed", "labels"} <= set(sends)
        and what != "weights"
        and not _acting(defense, "smashed")
        and not _acting(defense, "labels")
    ):
        return NOTHING + exception
    return f"{IN_CLEAR.format(NOUN[what])}{exception}"


def _by_case(defense: DefenseChain, what: Protected) -> str:
    """Return what happens to a kind of data at each kind of client."""
    found: dict[str, list[Case]] = {}
    for cases, variant in defense.variants():
        names = _names(_acting(variant, what))
        found.setdefault(f"pass {names}" if names else "are sent in clear", []).extend(cases)
    return ", and ".join(f"{text} {where_words(cases, defense.cases)}" for text, cases in found.items())


def _acting(defense: DefenseChain, what: Protected) -> Sequence[Defense]:
    return [member for member in defense if ACTING_ON[what] & set(member.facts.acts_on)]


def _names(defenses: Sequence[Defense]) -> str:
    return ", ".join(name_of(defense) for defense in defenses)
