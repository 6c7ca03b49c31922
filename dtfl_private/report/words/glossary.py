"""Terms of a report in plain words, each given once: in the section in which it first stands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

from dtfl_private.report.words.meanings import MEANING


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term of the field.

    Attributes:
        pattern: how it stands in a text, a regular expression for whole words.
        says: what it means, without a full stop.
    """

    pattern: str
    says: str


GLOSSARY: Mapping[str, Term] = {
    "Tier": Term(
        pattern=r"[Tt]iers?",
        says="how much of the network a client computes itself before it sends anything; in tier 1 the least",
    ),
    "Smashed data": Term(
        pattern=r"[Ss]mashed data",
        says="what the client's part of the network makes of a record; it is sent to the server, which trains the rest",
    ),
    "Weights, update": Term(
        pattern=r"([Ww]eights?|[Uu]pdates?)",
        says="the numbers that a network consists of, and how much training has changed them",
    ),
    "Record": Term(pattern=r"[Rr]ecords?", says="one image, or one text, of a client with its label"),
    "Auxiliary data": Term(
        pattern=r"[Aa]uxiliary (data|images|knowledge)",
        says="data of the attacker's own that resemble the clients' data; attacks learn from them",
    ),
    "Trivial guess": Term(
        pattern=r"([Tt]rivial guess(es)?|[Gg]uess(es)?)",
        says="what can be guessed without anything that clients sent, as the average image of a class, or the most "
        "frequent word. An attack must be better than that to count",
    ),
    "Undefended": Term(pattern=r"[Uu]ndefended", says="the same attack on the same training without any defense"),
    "95% interval": Term(
        pattern=r"(95 ?% (confidence|intervals?)|[Ii]ntervals?)",
        says="where the figure would lie for other records and repetitions, in 95 of 100 such studies",
    ),
    "p": Term(
        pattern=r"(p-values?|p)",
        says="how often chance alone would bring so much; the smaller, the surer the attack is beyond the guess",
    ),
    "SSIM": Term(
        pattern="SSIM", says=f"{MEANING['ssim']}. Images of one kind resemble each other, so even a guess has some"
    ),
    "PSNR, dB": Term(pattern="(PSNR|dB)", says=f"{MEANING['psnr']}: below 15 hardly alike, above 30 hardly different"),
    "MSE": Term(pattern="MSE", says=MEANING["mse"]),
    "LPIPS": Term(pattern="LPIPS", says=MEANING["lpips"]),
    "Token": Term(
        pattern="[Tt]okens?", says="a piece of a text that a network takes as one: a word, a part of one or a byte"
    ),
    "ROUGE-L": Term(pattern="ROUGE-L", says=MEANING["rouge-l"]),
    "Exact sequences": Term(pattern="[Ee]xact sequences", says=MEANING["exact-sequences"]),
    "Identifiability": Term(pattern="[Ii]dentifiability", says=MEANING["identifiability"]),
    "Classifier accuracy": Term(pattern="[Cc]lassifier accuracy", says=MEANING["classifier-accuracy"]),
    "AUC": Term(
        pattern="AUC",
        says="how often an attack tells which of two records was trained on; 0.5 is tossing a coin, 1 is always",
    ),
    "TPR at FPR": Term(
        pattern="(TPR|FPR)",
        says="share of the records trained on that are found, if so many of the others are taken for such",
    ),
    "Balanced accuracy": Term(pattern="[Bb]alanced accuracy", says=MEANING["balanced-accuracy"]),
    "Membership": Term(pattern="[Mm]embership", says="whether a record was trained on"),
    "Canary": Term(
        pattern="([Cc]anary|[Cc]anaries)",
        says="a record planted for the audit; whether it can be noticed later shows what one record gives away",
    ),
    "Epsilon, delta": Term(
        pattern="([Ee]psilon|[Dd]elta|DP|-DP)",
        says="of differential privacy: how much one record can change what is sent, at most; 0 is not at all, and each "
        "step of 1 lets an attacker be 2.7 times as sure. Delta is the probability that this fails",
    ),
    "Defense": Term(pattern="[Dd]efenses?", says="what a client does to what it sends so that it gives less away"),
    "Partition": Term(pattern="[Pp]artition", says="how records were dealt to clients; iid: at random"),
    "Scheduler": Term(pattern="[Ss]cheduler", says="what puts clients into tiers, by how fast their devices are"),
    "Round": Term(
        pattern="[Rr]ounds?", says="clients train on their records once or several times, and send the result"
    ),
    "Release": Term(pattern="[Rr]eleases?", says="one time that a record, in whatever form, was sent"),
    "Adaptive": Term(pattern="adaptive", says="an attack that knows the defense and allows for it"),
    "Worst 5%": Term(pattern="worst 5 ?%", says="of the records that the attack got best"),
    "Seed": Term(
        pattern="[Ss]eeds?",
        says="number from which all chance is drawn; another one repeats the same with other chance",
    ),
}


_TAG = re.compile("<[^>]*>")


@dataclass
class FirstUses:
    """Finds the terms that a page has not explained yet, section by section."""

    explained: set[str] = field(default_factory=set)

    def __call__(self, section: str) -> list[tuple[str, str]]:
        """Return the terms that stand in a section's HTML and in none before it, with what they mean."""
        text = Markup(_TAG.sub(" ", section)).unescape()
        found = [name for name in GLOSSARY if name not in self.explained and mentions(text, name)]
        self.explained.update(found)
        return [(name, GLOSSARY[name].says) for name in found]


def mentions(text: str, name: str) -> bool:
    """Whether a text mentions a term as whole words."""
    return re.search(rf"(?<![\w-])({GLOSSARY[name].pattern})(?![\w-])", text) is not None
