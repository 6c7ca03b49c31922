"""Rounds with adapters in a checkpoint's network: what travels, and the same rounds in plain loops without peft."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.data.dataset import TokenDataset
from dtfl_private.deployed.wire.frames import decode, encode
from dtfl_private.deployed.wire.kinds import Update
from dtfl_private.errors import InputError
from dtfl_private.experiments.config.train_config import TrainConfig
from dtfl_private.experiments.setup.prepare import Prepared, prepare
from dtfl_private.experiments.setup.run_objects import RunObjects
from dtfl_private.models.build import build_model
from dtfl_private.models.cutting.staged import split
from dtfl_private.protocol.messages import SmashedBatch, WeightUpdate, state_bytes
from dtfl_private.training.tasks import ClientTask
from dtfl_private.training.worker import Worker
from tests.checkpoints import SIZE, VOCABULARY, changed, checkpoint

LENGTH, RANK, ALPHA, LR = 6, 2, 3.0, 0.3
ADAPTED = ("attention.self.query", "attention.self.value")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    checkpoint(path, "bert")
    return changed(path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


@pytest.fixture(scope="module")
def texts() -> TokenDataset:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((28, LENGTH), SIZE, dtype=torch.int32)
    for row in range(28):
        real = 1 + row % LENGTH
        tokens[row, :real] = torch.randint(SIZE, (real,), generator=generator, dtype=torch.int32)
    labels = torch.arange(28) % 3
    return TokenDataset(
        name="mine",
        source="made up",
        classes=("a", "b", "c"),
        train_images=tokens[:20],
        train_labels=labels[:20],
        test_images=tokens[20:],
        test_labels=labels[20:],
        vocabulary=SIZE,
        padding=SIZE,
    )


@pytest.fixture(scope="module")
def prepared(folder, texts):
    def prepare_it(lora: str, **changes: object):
        settings = {"model": f"pretrained:path={folder},cuts=all{lora}", "clients": 2, "batch_size": 4, "lr": LR}
        settings |= {"device": "cpu", "dataset": "sentences", "optimizer": "sgd", "partition": "quantity:sigma=0.5"}
        return prepare(TrainConfig.model_validate(settings | changes), RunObjects(dataset=texts))

    return prepare_it


class Adapted(nn.Module):
    """A layer with an adapter, written out."""

    def __init__(self, layer: nn.Linear, down: Tensor, up: Tensor) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Parameter(down.clone()), nn.Parameter(up.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) + ALPHA / RANK * inputs @ self.down.T @ self.up.T


class Twin:
    """The network without adapters, with ours put in by hand; ``trained`` by the toolkit's names."""

    def __init__(self, run: Prepared, state: Mapping[str, Tensor]) -> None:
        text = run.config.model.partition(",lora=")[0]
        model = build_model(text, input_shape=(LENGTH,), classes=3, norm="batch", seed=0, tokens=VOCABULARY)
        model.requires_grad_(requires_grad=False)
        self.trained: dict[str, nn.Parameter] = {}
        for layer in (f"{stage}.block.{place}" for stage in ("md2", "md3") for place in ADAPTED):
            names = [f"{layer}.lora_{which}.default.weight" for which in "AB"]
            made = Adapted(model.get_submodule(layer), *(state[name] for name in names))
            model.set_submodule(layer, made)
            self.trained |= zip(names, (made.down, made.up), strict=True)
        for name in ("md4.fc.weight", "md4.fc.bias"):
            self.trained[name] = model.get_parameter(name).requires_grad_()
            self.trained[name].data.copy_(state[name])
        self.stages = list(model.train())

    def parts(self, tier: int) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return what is trained on the client and on the server."""
        sides = ([], [])
        for name, parameter in self.trained.items():
            sides[int(name[2]) > tier].append(parameter)
        return sides

    def train(self, tier: int, head: nn.Linear, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        own, theirs = self.parts(tier)
        client, server = torch.optim.SGD([*own, *head.parameters()], lr=LR), torch.optim.SGD(theirs, lr=LR)
        for tokens, labels in batches:
            smashed = tokens
            for stage in self.stages[:tier]:
                smashed = stage(smashed)
            real = (tokens != SIZE)[..., None]
            client.zero_grad()
            F.cross_entropy(head((smashed * real).sum(dim=1) / real.sum(dim=1)), labels).backward()
            client.step()
            logits = smashed.detach()
            for stage in self.stages[tier:]:
                logits = stage(logits)
            server.zero_grad()
            F.cross_entropy(logits, labels).backward()
            server.step()


def batches_of(run: Prepared, client: int, number: int) -> list[tuple[Tensor, Tensor]]:
    task = ClientTask(client=client, round=number, tier=2, lr=LR, batches=99, completes=True)
    data = Worker(run.worker).data(task)
    return [data.fetch(records) for records in data.batches]


def in_plain_loops(run: Prepared, tiers: Sequence[int], rounds: int) -> Iterator[dict[str, Tensor]]:
    """Yield what is trained after each round; clients are in these tiers, each in one of its own."""
    state = dict(run.initial.weights.model)
    heads = {tier: dict(head) for tier, head in run.initial.weights.heads.items()}
    shares = [len(part) / sum(map(len, run.worker.parts)) for part in run.worker.parts]
    for number in range(1, rounds + 1):
        mean = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        for client, tier in enumerate(tiers):
            twin, head = Twin(run, state), nn.Linear(8, 3)
            head.load_state_dict({name.removeprefix("fc."): tensor for name, tensor in heads[tier].items()})
            twin.train(tier, head, batches_of(run, client, number))
            heads[tier] = {f"fc.{name}": tensor for name, tensor in head.state_dict().items()}
            for name, tensor in twin.trained.items():
                mean[name] += shares[client] * tensor.detach()
        state = mean
        yield state | {f"{t}/{name}": tensor for t, head in heads.items() for name, tensor in head.items()}


def random_adapters(run: Prepared) -> Prepared:
    """Begin with adapters that do something: those of queries would hardly move."""
    chance, weights = torch.Generator().manual_seed(2), run.initial.weights
    drawn = {n: torch.randn(w.shape, generator=chance) if "lora_" in n else w for n, w in weights.model.items()}
    return replace(run, initial=replace(run.initial, weights=replace(weights, model=drawn)))


def test_rounds_with_adapters_are_those_of_plain_loops(prepared, in_tiers, play):
    run = random_adapters(in_tiers(prepared(f",lora={RANK},lora_alpha={ALPHA}"), 2, 3))
    played = play(run, rounds=2)
    for (state, _), expected in zip(played, in_plain_loops(run, (2, 3), 2), strict=True):
        ours = dict(state.weights.model)
        ours |= {f"{t}/{name}": tensor for t, head in state.weights.heads.items() for name, tensor in head.items()}
        assert ours.keys() == expected.keys()
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)
    moved = played[-1][0].weights.model
    by = {name: float((tensor - moved[name]).abs().max()) for name, tensor in run.initial.weights.model.items()}
    assert min(by.values()) > 1e-5


def test_only_adapters_and_heads_travel_and_are_counted(prepared, in_tiers, play):
    seen: list[WeightUpdate] = []
    run = in_tiers(prepared(f",lora={RANK}"), 1, 3)
    ((_, outcome),) = play(run, observers=[lambda one: seen.append(one) if isinstance(one, WeightUpdate) else None])
    adapters = [f"{stage}.block.{place}.lora_" for stage in ("md2", "md3") for place in ADAPTED]
    first, second = seen
    assert first.weights == {}  # embeddings alone: all of them frozen
    assert {name.rpartition("lora_")[0] + "lora_" for name in second.weights} == set(adapters)
    assert state_bytes(second.weights) == 4 * RANK * 4 * (8 + 8)
    for update in seen:  # over a network, too
        sent = encode(Update(session=1, message=update, compute_s=0.0, images=1))
        received = decode(sent, from_="client", largest=2**20).message
        for states in ((received.weights, update.weights), (received.head, update.head)):
            assert states[0].keys() == states[1].keys()
            assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    head = 4 * (8 * 3 + 3)
    expected = state_bytes(second.weights) + 2 * head
    assert outcome.traffic["up_weights"] == outcome.traffic["down_weights"] == expected
    assert [row.weight_bytes for row in run.settings.schedule.table.rows] == [head, head + 512 // 2, head + 512]


def test_with_rank_zero_clients_send_the_checkpoint_s_activations_and_train_a_head_of_their_own(
    prepared, in_tiers, play
):
    seen: list[SmashedBatch | WeightUpdate] = []
    run = in_tiers(prepared(",lora=0"), 2, 2)
    ((state, _),) = play(run, observers=[seen.append])
    plain = split(prepared("").worker.model, 2)[0]
    sent = [message for message in seen if isinstance(message, SmashedBatch) and message.client == 0]
    for message, (tokens, labels) in zip(sent, batches_of(run, 0, 1), strict=True):
        assert torch.equal(message.smashed, plain(tokens))
        assert torch.equal(message.labels, labels)
    for update in (message for message in seen if isinstance(message, WeightUpdate)):
        assert update.weights == {}
        assert all(not torch.equal(w, run.initial.weights.heads[2][name]) for name, w in update.head.items())
    assert state.weights.model.keys() == {"md4.fc.weight", "md4.fc.bias"}
    assert all(not torch.equal(w, run.initial.weights.model[name]) for name, w in state.weights.model.items())


@pytest.mark.parametrize("method", ["fedavg", "splitfed-v1:cut=2", "u-shaped:cut=2", "fedgkt:cut=2", "fedadam"])
def test_other_methods_train_adapters_too(prepared, play, method):
    run = prepared(f",lora={RANK}", method=method, scheduler="dynamic")
    ((state, _),) = play(run)
    begun = run.initial.weights.model
    assert state.weights.model.keys() == begun.keys()
    moved = [name for name, tensor in state.weights.model.items() if not torch.equal(tensor, begun[name])]
    assert any("lora_B" in name for name in moved)
    assert any(".fc." in name for name in moved)


@pytest.mark.parametrize(("method", "said"), [("splitfed-v1:cut=1", "clients"), ("u-shaped:cut=2", "clients' first")])
def test_a_method_whose_clients_would_train_nothing_is_refused(prepared, method, said):
    with pytest.raises(InputError, match=f"leaves the {said}.* nothing to train"):
        prepared(",lora=0" if "u-" in method else f",lora={RANK}", method=method, scheduler="dynamic")


@pytest.mark.parametrize("defense", ["update-noise:sd=0.1", "update-clip:norm=0.01", "dp-weights:noise_multiplier=1"])
def test_defenses_of_weights_act_on_adapters_and_heads(prepared, in_tiers, play, defense):
    run = in_tiers(prepared(f",lora={RANK}", defense=[defense]), 1, 3)
    ((state, _),) = play(run)
    plain = play(in_tiers(prepared(f",lora={RANK}"), 1, 3))[0][0]
    for name, tensor in state.weights.model.items():
        assert tensor.isfinite().all()
        if name.startswith("md3") and "value.lora_B" in name:  # of the client in tier 3
            assert not torch.equal(tensor, plain.weights.model[name])
