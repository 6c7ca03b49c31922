"""README.md of a run folder: a model card in the layout of the Hugging Face hub.

Names of classes, networks and data sets may be anybody's: they are shown, never taken for markup. Who changes the file
keeps it: it is written anew only while it is as it was written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dtfl_private.data.description import DataDescription
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.judging.class_rows import ClassRow
from dtfl_private.experiments.run_folder.folder import RunFolder
from dtfl_private.files import reading
from dtfl_private.files.writing import write_atomic
from dtfl_private.leakage.metrics import find_metric
from dtfl_private.plugins.specification import is_object_path
from dtfl_private.protocol.guarantees import Disclosure
from dtfl_private.report.tables.privacy import sentences
from dtfl_private.report.words.audit import overall
from dtfl_private.report.words.markdown import markdown_text, yaml_text
from dtfl_private.report.words.results import figure, interval
from dtfl_private.training.round_record import Record
from dtfl_private.training.selected_round import is_validated, selected_round
from dtfl_private.verdicts.findings import Findings, TierVerdict
from dtfl_private.verdicts.selected_results import by_tier, is_valid

LARGEST_CARD_BYTES = 2**20

# Of more classes only these are named; dataset.json holds them all.
CLASSES_NAMED = 100

APART = (
    "",
    "With this method each client keeps a network of its own, and the figures are theirs, each on its share of the "
    "images. The weights here are the server's network behind the mean of the clients' modules: they were not judged.",
)

SIGNED = "<!-- written by dtfl-private; it is written anew only while this is the SHA-256 of the lines above: "


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model card tells.

    Attributes:
        config: of the run.
        data: what the network takes, and what its outputs mean.
        records: of the finished rounds, at least one.
        privacy: what has left the clients.
        by_class: how well the network tells each class after the last round; empty where that is not known.
        judged_apart: the figures are those of networks that clients keep for themselves, not of the weights in the run
            folder.
        findings: of an audit, if there was one.
    """

    config: TrainConfig
    data: DataDescription
    records: Sequence[Record]
    privacy: Sequence[Disclosure]
    by_class: Sequence[ClassRow] = ()
    judged_apart: bool = False
    findings: Findings | None = None

    @property
    def accuracy(self) -> float:
        """Of the network after the last round."""
        return self.records[-1]["test_accuracy"]

    @property
    def next_tokens(self) -> bool:
        """Whether the network says which token comes next, and tells no classes apart."""
        return "test_perplexity" in self.records[-1]

    @property
    def deployed(self) -> bool:
        """Whether its clients were real ones: then times were measured."""
        return self.records[-1].get("clock") == "wall"

    @property
    def judged(self) -> str:
        """Whose figures the card has."""
        return "the clients' own networks" if self.judged_apart else "these weights"

    @property
    def inputs(self) -> str:
        """The network's inputs in words."""
        shape = ", ".join(map(str, self.data.input_shape))
        return f"{self.data.kind} (N, {shape})"


def write_card(folder: RunFolder, card: ModelCard) -> bool:
    """Write README.md; return False where somebody has changed it, who keeps it."""
    if folder.card.is_symlink() or (folder.card.exists() and not _as_written(folder)):
        return False
    write_atomic(folder.card, card_document(card))
    return True


def card_document(card: ModelCard) -> bytes:
    """Return the text of a model card."""
    sections = (_heading, _data, _training, _classes, _figures, _privacy, _audit, _use)
    lines = [*_front_matter(card), *(line for section in sections for line in ("", *section(card))), ""]
    text = "\n".join(lines)
    return f"{text}{SIGNED}{hashlib.sha256(text.encode()).hexdigest()} -->\n".encode()


def _as_written(folder: RunFolder) -> bool:
    try:
        found = reading.read_text(folder.card, most_bytes=LARGEST_CARD_BYTES)
    except (OSError, ValueError):
        return False
    text, signed, rest = found.rpartition(SIGNED)
    return bool(signed) and rest == f"{hashlib.sha256(text.encode()).hexdigest()} -->\n"


def _front_matter(card: ModelCard) -> list[str]:
    of_texts = "text-generation" if card.next_tokens else "text-classification"
    task = "image-classification" if card.data.kind == "images" else of_texts
    name, dataset = (_name(text) for text in (card.config.model, card.config.dataset))
    of = f"name: {yaml_text(card.data.name)}, type: {yaml_text(dataset)}, split: {card.config.judged_on}"
    # What the hub shows as the figure of these weights.
    index = [
        "model-index:",
        f"- name: {yaml_text(f'{name} on {dataset}')}",
        "  results:",
        f"  - task: {{type: {task}}}",
        f"    dataset: {{{of}}}",
        f"    metrics: [{{type: accuracy, value: {card.accuracy!r}}}]",
    ]
    return [
        "---",
        "# No license is chosen: add `license:` yourself.",
        "library_name: dtfl-private",
        f"pipeline_tag: {task}",
        "tags: [federated-learning, split-learning, dtfl-private]",
        f"datasets: [{yaml_text(dataset)}]",
        "metrics: [accuracy]",
        *([] if card.judged_apart else index),
        "---",
    ]


def _heading(card: ModelCard) -> list[str]:
    config = card.config
    apart = f"tells {len(card.data.classes)} classes apart"
    does = "says at each place of a text which token comes next" if card.next_tokens else apart
    return [
        f"# {markdown_text(_name(config.model))} on {markdown_text(_name(config.dataset))}",
        "",
        f"A network that {does}, trained federatedly by "
        f"{markdown_text(_name(config.method))} with dtfl-private. It takes {card.inputs}.",
    ]


def _data(card: ModelCard) -> list[str]:
    lines = ["## Data", "", f"- data set: {markdown_text(card.config.dataset)}"]
    count = card.config.max_train_images
    if count is not None:
        lines.append(f"- {count:,} training {'images' if card.data.kind == 'images' else 'sequences'}")
    if card.config.validation:
        held = f"- held back as validation {'images' if card.data.kind == 'images' else 'sequences'}: "
        lines.append(f"{held}{card.config.validation:.1%}, by the {card.config.validation_held_by}")
    clients = f"{card.config.clients:,} clients"
    dealt = f"- dealt out to {clients}: {markdown_text(card.config.partition)}"
    lines.append(f"- held by {clients}, each its own" if card.deployed else dealt)
    for name, numbers in (("mean", card.data.mean), ("standard deviation", card.data.std)):
        if numbers:
            shown = ", ".join(f"{number:.4g}" for number in numbers[:8])
            lines.append(f"- normalised by the {name} {shown} per channel, of images scaled to \\[0, 1\\]")
    return lines


def _training(card: ModelCard) -> list[str]:
    config = card.config
    facts = {
        "method": config.method,
        "network": f"{config.model}, {config.norm} norm",
        "scheduler": config.scheduler,
        "rounds": f"{len(card.records)} of {config.rounds}",
        "optimiser": f"{config.optimizer}, learning rate {config.lr:g}, {config.batch_size} per batch",
        "local epochs": str(config.local_epochs),
        "class weights": config.class_weights,
        "augmentation": ", ".join(config.augment) or "none",
        "defenses": ", ".join(config.defense) or "none",
        "precision": config.precision,
        "seed": str(config.seed),
    }
    told = [f"- {what}: {markdown_text(text)}" for what, text in facts.items()]
    simulated = "Clients, their devices and their times were simulated."
    measured = "Clients were processes of their own, over a real network; times were measured."
    return ["## How it was trained", "", *told, "", measured if card.deployed else simulated]


def _classes(card: ModelCard) -> list[str]:
    named = card.data.classes[:CLASSES_NAMED]
    left = len(card.data.classes) - len(named)
    more = ["", f"And {left:,} more, in dataset.json."] if left else []
    if not card.by_class:
        return ["## Classes", "", *(f"- {number}: {markdown_text(name)}" for number, name in enumerate(named)), *more]
    head = ["| class | name | images | precision | recall | F1 |", "|--|--|--|--|--|--|"]
    rows = [_class_row(number, name, card.by_class[number]) for number, name in enumerate(named)]
    told = f"Figures of {card.judged} on the {card.config.judged_on} images."
    return ["## Classes", "", told, "", *head, *rows, *more]


def _class_row(number: int, name: str, row: ClassRow) -> str:
    figures = ("-" if value is None else f"{value:.3f}" for value in (row.precision, row.recall, row.f1))
    return f"| {' | '.join((str(number), markdown_text(name), f'{row.support:,}', *figures))} |"


def _figures(card: ModelCard) -> list[str]:
    last, judged_on = card.records[-1], card.config.judged_on
    best = max(card.records, key=lambda record: record["test_accuracy"])
    return [
        "## Figures",
        "",
        f"| | {judged_on} accuracy | {judged_on} loss |",
        "|--|--|--|",
        f"| after the last round, {last['round']}: {card.judged} | {card.accuracy:.4f} | {last['test_loss']:.4f} |",
        *_selected(card),
        f"| highest of any round, {best['round']}, chosen by it: optimistic | {best['test_accuracy']:.4f} "
        f"| {best['test_loss']:.4f} |",
        "",
        "One training run with one seed: another seed gives other figures.",
        *(APART * card.judged_apart),
    ]


def _selected(card: ModelCard) -> list[str]:
    """Return the row of the round that other images than the judged ones have chosen, if they have."""
    if card.config.judged_on == "validation" or not is_validated(card.records):
        return []
    chosen = selected_round(card.records)
    name = f"best round on validation images, {chosen['round']}"
    return [f"| {name} | {chosen['test_accuracy']:.4f} | {chosen['test_loss']:.4f} |"]


def _privacy(card: ModelCard) -> list[str]:
    told = [f"- {markdown_text(sentence, 1000)}" for sentence in sentences(card.privacy)]
    return [
        "## Privacy",
        "",
        "What left the clients during training:",
        "",
        *(told or ["- nothing is known of it"]),
        "",
        "Weights can tell of the records that they were trained on.",
        "Without an (epsilon, delta) above nothing limits how much.",
    ]


def _audit(card: ModelCard) -> list[str]:
    findings = card.findings
    if findings is None:
        return ["## Leakage audit", "", "No audit of this run is known: `dtfl-private audit RUN` makes one."]
    lines = ["## Leakage audit", "", markdown_text(overall(findings), 1000)]
    if is_valid(findings) and findings.verdict:
        lines += ["", "| tier | verdict | strongest attack | metric | reached | 95% interval |", "|--|--|--|--|--|--|"]
        lines += [_tier_row(verdict) for verdict in by_tier(findings.verdict)]
    return [*lines, "", "An audit gives a lower bound: what these attacks reached, never that a run is safe."]


def _tier_row(verdict: TierVerdict) -> str:
    best = verdict.strongest
    cells = (
        str(verdict.tier),
        verdict.level,
        markdown_text(verdict.attack),
        find_metric(best.metric).label,
        figure(best.value, best.metric),
        interval(best),
    )
    return f"| {' | '.join(cells)} |"


def _use(card: ModelCard) -> list[str]:
    files = card.data.image_files is not None
    return [
        "## Use",
        "",
        "```python",
        "from dtfl_private import load_model",
        "",
        f'model = load_model("model.safetensors"{_network_argument(card.config.model)})',
        f"logits = model({card.data.kind})  # {card.inputs}{_range(card)}",
        "following = logits.argmax(dim=2)  # at each place the likeliest next token"
        if card.next_tokens
        else "names = [model.classes[label] for label in logits.argmax(dim=1)]",
        "```",
        *(
            ["", "Of image files: `dtfl-private predict RUN IMAGES`; for other programs: `dtfl-private export RUN`."]
            * files
        ),
    ]


def _range(card: ModelCard) -> str:
    return ", uint8 or in [0, 1]; it normalises by itself" if card.data.kind == "images" else ", whole numbers"


def _network_argument(model: str) -> str:
    """Return what `load_model` must be told of a network that no name of a built-in one stands for."""
    if model.startswith("object:"):
        return ", model=NETWORK"
    if is_object_path("model", model):
        return f', allow_plugins=["{model.partition(":")[0]}"]'
    return ""


def _name(specification: str) -> str:
    """Return a plug-in's name without its settings."""
    kept = specification.removeprefix("object:")
    return kept if is_object_path("model", kept) else kept.partition(":")[0]
