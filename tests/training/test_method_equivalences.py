"""Methods that must agree with each other, and each against its paper's formulas in plain loops; all in float64."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtfl_private.experiments.setup.prepare import Prepared
from dtfl_private.protocol.messages import below
from dtfl_private.randomness import stream
from dtfl_private.runtime.in_process import InProcess
from dtfl_private.simulation.round_plan import RoundPlan
from dtfl_private.simulation.schedule_round import schedule_round
from dtfl_private.training.methods.server_optimizers import FedAdam, FedYogi
from dtfl_private.training.tasks import tasks_of
from dtfl_private.training.worker import WorkerSetup
from examples.paper_pseudocode import average, batches, gap, step

TOLERANCE = 1e-6
SGD = {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3, "lr": 0.05}


def _plan(prepared: Prepared) -> RoundPlan:
    return schedule_round(prepared.initial.schedule, prepared.settings.schedule, 1)[1]


@pytest.mark.parametrize(("cut", "values"), [(1, {}), (2, {"local_epochs": 2}), (3, {"fraction": 0.7, **SGD})])
def test_splitfed_v1_is_fedavg(prepare_tiny, play, cut, values):
    """Batch norm, dropout, unequal clients and the learning rate's decay included."""
    common = {"precision": "fp64", "partition": "dirichlet:1", "augment": ["flip"], "lr_patience": 1, **values}
    split = play(prepare_tiny(method=f"splitfed-v1:cut={cut}", **common), 4)
    whole = play(prepare_tiny(method="fedavg", **common), 4)
    for (ours, outcome), (theirs, expected) in zip(split, whole, strict=True):
        assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
        assert outcome.test_accuracy == expected.test_accuracy
        assert outcome.test_loss == pytest.approx(expected.test_loss, rel=1e-9)
        assert outcome.server_loss == pytest.approx(expected.local_loss, rel=1e-9)
        assert ours.plateau.lr == theirs.plateau.lr


@pytest.mark.parametrize(("cut", "values"), [(2, {}), (3, {"tiers": 1})])
def test_a_static_scheduler_with_one_tier_is_local_loss_split_learning(prepare_tiny, play, cut, values):
    common = {"precision": "fp64", "dropout": 0.3, "clients": 5}
    tiered = play(prepare_tiny(method="dtfl", scheduler=f"static:{cut}", **common, **values), 3)
    plain = play(prepare_tiny(method=f"local-loss:cut={cut}", **common), 3)
    for (ours, outcome), (theirs, expected) in zip(tiered, plain, strict=True):
        assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
        assert gap((ours.weights.heads[cut], theirs.weights.heads[cut])) <= TOLERANCE
        assert (outcome.traffic, outcome.macs) == (expected.traffic, expected.macs)
        assert outcome.virtual_time_s == expected.virtual_time_s


@pytest.mark.parametrize("values", [{}, {"local_epochs": 2, "fraction": 0.7, **SGD}])
def test_dtfl_with_the_whole_network_on_every_client_is_fedavg(prepare_tiny, play, values):
    common = {"precision": "fp64", "partition": "dirichlet:1", "augment": ["flip"], "lr_patience": 1, "dropout": 0.2}
    common |= values
    tiered = play(prepare_tiny(method="dtfl-full", scheduler="static:4", **common), 4)
    whole = play(prepare_tiny(method="fedavg", **common), 4)
    for (ours, outcome), (theirs, expected) in zip(tiered, whole, strict=True):
        assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
        assert outcome.test_loss == pytest.approx(expected.test_loss, rel=1e-9)
        assert (outcome.local_loss, outcome.server_loss) == (expected.local_loss, None)
        assert (outcome.traffic, outcome.macs) == (expected.traffic, expected.macs)
        assert outcome.virtual_time_s == expected.virtual_time_s
        assert ours.plateau == theirs.plateau


def test_dtfl_with_a_tier_more_is_dtfl_in_the_others(prepare_tiny, play):
    """To the bit, as long as the scheduler keeps to them; what is sent in the tier more is FedAvg's."""
    ours, papers = (prepare_tiny(method=name, scheduler="static:3") for name in ("dtfl-full", "dtfl"))
    assert ours.settings.schedule.table.rows[:3] == papers.settings.schedule.table.rows
    for (mine, outcome), (theirs, expected) in zip(play(ours, 2), play(papers, 2), strict=True):
        assert gap((mine.weights.model, theirs.weights.model)) == 0
        assert (outcome.traffic, outcome.macs) == (expected.traffic, expected.macs)


def test_a_round_of_whole_and_cut_networks_averages_both(prepare_tiny, play, in_tiers):
    """Each client does what it does alone in its tier, and the loss to decay by is that of whole networks."""
    tiers = (1, 3, 4)
    common = {"precision": "fp64", "partition": "dirichlet:1"}
    ((state, outcome),) = play(in_tiers(prepare_tiny(method="dtfl-full", **common), *tiers))
    ways = {1: ("dtfl", "static:1"), 3: ("dtfl", "static:3"), 4: ("fedavg", "dynamic")}
    alone = {}
    for tier, (method, scheduler) in ways.items():
        prepared = prepare_tiny(method=method, scheduler=scheduler, **common)
        tasks = tasks_of(_plan(prepared), prepared.initial)
        alone[tier] = list(InProcess(prepared.worker).train(tasks, prepared.initial.weights))
    results = [alone[tier][client] for client, tier in enumerate(tiers)]
    expected = average([(dict(result.model), result.examples) for result in results])
    assert gap((state.weights.model, expected)) <= TOLERANCE
    losses = [result.local_loss if result.server_loss is None else result.server_loss for result in results]
    whole = sum(loss * r.examples for loss, r in zip(losses, results, strict=True)) / sum(r.examples for r in results)
    assert state.plateau.best_loss == pytest.approx(whole, rel=1e-9)
    assert outcome.traffic["up_labels"] == 8 * sum(result.examples for result in results[:2])


@pytest.mark.parametrize("values", [{}, {"local_epochs": 2, **SGD}])
def test_fedavg_with_one_client_is_centralised_training(prepare_tiny, play, values):
    one = play(prepare_tiny(method="fedavg", clients=1, precision="fp64", **values), 3)
    for clients in (1, 4):
        central = play(prepare_tiny(method="centralised", clients=clients, precision="fp64", **values), 3)
        for (ours, outcome), (theirs, expected) in zip(one, central, strict=True):
            assert gap((ours.weights.model, theirs.weights.model)) <= TOLERANCE
            assert outcome.local_loss == pytest.approx(expected.server_loss, rel=1e-9)


@pytest.mark.parametrize("name", ["fedyogi", "fedadam"])
def test_a_server_rate_of_zero_leaves_the_weights(prepare_tiny, play, name):
    prepared = prepare_tiny(method=f"{name}:server_lr=0", precision="fp64")
    parameters = {parameter for parameter, _ in prepared.worker.model.named_parameters()}
    for state, _ in play(prepared, 2):
        for parameter in parameters:
            assert torch.equal(state.weights.model[parameter], prepared.initial.weights.model[parameter])


@pytest.mark.parametrize("rule", [FedAdam, FedYogi])
def test_the_server_step_is_the_papers(prepare_tiny, play, rule):
    """Reddi et al., algorithm 2, one number at a time; the clients' average is FedAvg's."""
    constants = {"server_lr": 0.1, "beta1": 0.8, "beta2": 0.95, "tau": 0.01}
    text = ",".join(f"{key}={value}" for key, value in constants.items())
    common = {"precision": "fp64", "clients": 2}
    ((first, _), (second, _)) = play(prepare_tiny(method=f"{rule.__name__}:{text}", **common), 2)
    plain = prepare_tiny(method="fedavg", **common)
    name, place = "top.2.bias", 1
    m, v, before = 0.0, 0.01**2, plain.initial
    for after in (first, second):
        ((averaged, _),) = play(replace(plain, initial=replace(before, extras={})))
        w, proposed = (float(state.weights.model[name][place]) for state in (before, averaged))
        d = proposed - w
        m = 0.8 * m + 0.2 * d
        v = 0.95 * v + 0.05 * d * d if rule is FedAdam else v - 0.05 * d * d * (1 if v > d * d else -1)
        assert float(after.extras[f"m/{name}"][place]) == pytest.approx(m, rel=1e-9)
        assert float(after.extras[f"v/{name}"][place]) == pytest.approx(v, rel=1e-9)
        assert float(after.weights.model[name][place]) == pytest.approx(w + 0.1 * m / (v**0.5 + 0.01), rel=1e-9)
        # Buffers have no gradient: they are averaged, but for statistics, which are measured anew.
        counter, means = "stem.1.num_batches_tracked", "stem.1.running_mean"
        assert torch.equal(after.weights.model[counter], averaged.weights.model[counter])
        assert not torch.equal(after.weights.model[means], averaged.weights.model[means])
        before = after


def test_fedprox_adds_the_proximal_term_to_the_local_loss(prepare_tiny, play, without_dropout):
    mu = 0.7
    prepared = prepare_tiny(method=f"fedprox:mu={mu}", model=without_dropout(), precision="fp64", local_epochs=2, **SGD)
    ((state, outcome),) = play(prepared)
    trained = []
    for client, part in enumerate(prepared.worker.parts):
        model = copy.deepcopy(prepared.worker.model).train()
        start = [parameter.detach().clone() for parameter in model.parameters()]
        sgd = torch.optim.SGD(model.parameters(), outcome.lr, momentum=0.9, weight_decay=1e-3)
        for x, y in batches(prepared.worker, client, 1):
            away = sum(((w - w0) ** 2).sum() for w, w0 in zip(model.parameters(), start, strict=True))
            step(sgd, F.cross_entropy(model(x), y) + mu / 2 * away)
        trained.append((model.state_dict(), len(part)))
    assert gap((average(trained), state.weights.model)) <= TOLERANCE
    ((free, _),) = play(prepare_tiny(method="fedprox:mu=0", precision="fp64"))
    ((plain, _),) = play(prepare_tiny(method="fedavg", precision="fp64"))
    assert all(torch.equal(tensor, plain.weights.model[name]) for name, tensor in free.weights.model.items())


def test_splitfed_v2_trains_one_server_half_in_the_order_of_arrival(prepare_tiny, play, without_dropout):
    prepared = prepare_tiny(method="splitfed-v2:cut=2", model=without_dropout(), precision="fp64", clients=3, seed=1)
    ((state, outcome),) = play(prepared)
    order = outcome.plan.order.tolist()
    assert sorted(order) == sorted(
        place for place, count in enumerate(outcome.plan.batches_P.tolist()) for _ in range(count)
    )
    assert order != sorted(order), "clients should alternate"
    server = copy.deepcopy(prepared.worker.model).train()[2:]
    halves = [copy.deepcopy(prepared.worker.model).train()[:2] for _ in prepared.worker.parts]
    adams = [torch.optim.Adam(half.parameters(), outcome.lr) for half in [*halves, server]]
    waiting = [iter(batches(prepared.worker, client, 1)) for client in range(3)]
    for client in order:
        x, y = next(waiting[client])
        for adam in (adams[client], adams[-1]):
            adam.zero_grad()
        F.cross_entropy(server(halves[client](x)), y).backward()
        adams[client].step()
        adams[-1].step()
    mean = average([(h.state_dict(), len(part)) for h, part in zip(halves, prepared.worker.parts, strict=True)])
    assert gap(({**mean, **server.state_dict()}, state.weights.model)) <= TOLERANCE


def test_splitfed_v2_with_one_client_is_v1(prepare_tiny, play):
    both = [play(prepare_tiny(method=f"splitfed-{v}", precision="fp64", clients=1), 2)[-1] for v in ("v1", "v2")]
    assert gap((both[0][0].weights.model, both[1][0].weights.model)) <= TOLERANCE
    assert both[0][1].virtual_time_s == pytest.approx(both[1][1].virtual_time_s, rel=1e-12)


def distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) at this temperature, averaged over records."""
    p, q = (logits / temperature for logits in (teacher, student))
    return temperature**2 * (p.softmax(1) * (p.log_softmax(1) - q.log_softmax(1))).sum(1).mean()


def dealt(setup: WorkerSetup, client: int, round_number: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return (record numbers, inputs, labels) of a client's batches."""
    numbers = stream(setup.seed, "order", client, round_number)
    size = len(setup.parts[client])
    epochs = [torch.from_numpy(numbers.permutation(size)) for _ in range(setup.local_epochs)]
    records = [batch for epoch in epochs for batch in torch.split(epoch, setup.batch_size)]
    return [(own, x, y) for own, (x, y) in zip(records, batches(setup, client, round_number), strict=True)]


def test_fedgkt_teaches_both_ways(prepare_tiny, play, without_dropout):
    """Two rounds of He et al., algorithm 1, in plain loops: clients keep their networks, logits go up and down."""
    alpha, temperature = 0.5, 2.0
    method = f"fedgkt:alpha={alpha},temperature={temperature}"
    prepared = prepare_tiny(method=method, model=without_dropout(), precision="fp64", local_epochs=2)
    setup = prepared.worker
    server = copy.deepcopy(setup.model).train()[2:]
    small = [nn.Sequential(*copy.deepcopy(setup.model)[:2], copy.deepcopy(setup.heads[2])) for _ in setup.parts]
    answers = [torch.zeros(len(part), 3, dtype=torch.float64) for part in setup.parts]

    def loss(logits: Tensor, y: Tensor, teacher: Tensor) -> Tensor:
        return F.cross_entropy(logits, y) + alpha * distance(logits, teacher, temperature)

    for number, (state, outcome) in enumerate(play(prepared, 2), start=1):
        server_adam = torch.optim.Adam(server.parameters(), outcome.lr)
        sent = []
        for client, net in enumerate(small):
            every = dealt(setup, client, number)
            adam = torch.optim.Adam(net.train().parameters(), outcome.lr)
            for records, x, y in every:
                step(adam, F.cross_entropy(net(x), y) if number == 1 else loss(net(x), y, answers[client][records]))
            once = every[: len(every) // 2]
            sent += [(place, client, records, x, y) for place, (records, x, y) in enumerate(once)]
            net.eval()
        for _, client, records, x, y in sorted(sent, key=lambda row: row[:2]):
            with torch.no_grad():
                z, theirs = small[client][:2](x), small[client](x)
            ours = server(z)
            step(server_adam, loss(ours, y, theirs))
            answers[client][records] = ours.detach()
        assert gap((state.weights.model, server.state_dict())) <= TOLERANCE
        for client, net in enumerate(small):
            kept = below(f"client/{client}/", state.extras)
            assert float((answers[client] - kept["logits"]).abs().max()) <= TOLERANCE
            assert (
                gap((net[0].state_dict(), below("net/stem.", kept)), (net[2].state_dict(), below("head/", kept))) < 1e-6
            )
        assert outcome.test_loss == pytest.approx(judged_in_shares(setup, small, server), rel=1e-9)


@pytest.mark.parametrize("values", [{"fraction": 0.4}, {"dropout": 0.7, "seed": 2}])
def test_fedgkt_judges_networks_of_clients_that_have_taken_part(prepare_tiny, play, without_dropout, values):
    """Not those of the start, behind which the server's network was never trained; nor are these in the mean."""
    prepared = prepare_tiny(method="fedgkt", model=without_dropout(), precision="fp64", clients=5, **values)
    setup, taught, few = prepared.worker, set(), 0
    for state, outcome in play(prepared, 3):
        taught |= set(outcome.plan.clients_P[~outcome.plan.dropped_P].tolist())
        few += 0 < len(taught) < 5
        server = copy.deepcopy(setup.model)[2:]
        server.load_state_dict({name: t for name, t in state.weights.model.items() if name in server.state_dict()})
        nets, states = [], []
        for client in sorted(taught):
            half = copy.deepcopy(setup.model)[:2].eval()
            half.load_state_dict(below(f"client/{client}/net/", state.extras))
            nets.append(half)
            states.append((half.state_dict(), len(setup.parts[client])))
        assert outcome.test_loss == pytest.approx(judged_in_shares(setup, nets, server), rel=1e-9)
        assert gap((average(states), {name: state.weights.model[name] for name in nets[0].state_dict()})) <= TOLERANCE
    assert few, "a client should be missing in some round"


def test_fedgkt_judges_the_network_of_the_start_before_anybody_has_taken_part(prepare_tiny, play):
    prepared = prepare_tiny(method="fedgkt", dropout=1.0)
    start = InProcess(prepared.worker).evaluate(prepared.initial.weights.model)
    for _, outcome in play(prepared, 2):
        assert outcome.test_loss == start.loss_sum / start.images
        assert outcome.test_accuracy == start.correct / start.images


def judged_in_shares(setup: WorkerSetup, small: Sequence[nn.Module], server: nn.Module) -> float:
    """Return the mean loss when client i of n judges the test images i, i + n, i + 2n, ..."""
    judge, losses = copy.deepcopy(server).eval(), []
    for client, net in enumerate(small):
        x = setup.numerics.place_images(setup.normaliser(setup.test_images[client :: len(small)]))
        with torch.no_grad():
            logits = judge(net[1](net[0](x)))
        losses.append(F.cross_entropy(logits, setup.test_labels[client :: len(small)], reduction="none"))
    return float(torch.cat(losses).mean())
