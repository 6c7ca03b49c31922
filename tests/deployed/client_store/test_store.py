import hashlib
import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stored import CONFIG, ROUNDS, asked, terms

from dtfl_private.defenses.dp_activations import DpActivations
from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.defenses.gaussian_noise import GaussianNoise
from dtfl_private.defenses.label_rr import LabelRr
from dtfl_private.defenses.pixel_dp import PixelDp
from dtfl_private.deployed.client_store import state as state_file
from dtfl_private.deployed.client_store.store import ClientStore
from dtfl_private.deployed.client_store.terms import SPARE_ROUNDS
from dtfl_private.errors import InputError, RunError
from dtfl_private.privacy.accounting import statements
from dtfl_private.privacy.ledger import charge
from dtfl_private.protection.conditional import only_where
from dtfl_private.protection.draws import normal
from dtfl_private.protection.secret_randomness import SecretRandomness
from dtfl_private.protocol.guarantees import NoisyInputs, RandomizedResponse, SampledGaussian
from dtfl_private.randomness import torch_stream


@contextmanager
def entered(folder: Path, agreed=None, run: str = "run-a", config: str = CONFIG, **options):
    with ClientStore(folder) as store:
        store.agree(config, **options)
        store.enter(run, agreed or terms(DpWeights(noise_multiplier=1.0)))
        yield store


def play(store: ClientStore, agreed, *rounds) -> int:
    """Let the client answer a server that asks for rounds; return how many it takes part in, to the full."""
    taken = 0
    for each in rounds:
        if store.refuses(each) is None:
            store.begin(each)
            store.settle(agreed.releases(each))
            taken += 1
    return taken


def epsilon(ledger) -> float:
    (statement,) = statements(ledger)
    assert statement.epsilon is not None
    return statement.epsilon


def test_a_new_store_is_for_its_owner_alone_and_knows_nothing(tmp_path):
    with ClientStore(tmp_path / "store") as store:
        assert (store.config, store.last_run, store.ledger, store.memory) == (None, "", (), {})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    assert modes == {"secret": 0o600, "state.json": 0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_a_second_process_is_refused_in_one_line_until_the_first_lets_go(tmp_path):
    with ClientStore(tmp_path), pytest.raises(InputError, match="is in use by another process"):
        ClientStore(tmp_path)
    ClientStore(tmp_path).close()


def test_what_was_charged_settled_kept_and_acknowledged_is_there_afterwards(tmp_path):
    agreed, memory = terms(DpWeights(noise_multiplier=1.0)), {"0/kept": torch.arange(3.0), "n": torch.tensor(4)}
    with entered(tmp_path, agreed) as store:
        store.begin(asked())
        store.settle(agreed.releases(asked()), memory=memory)
        store.acknowledged(1)
        before = (store.ledger, store.progress, store.last_run)
    with entered(tmp_path, agreed) as store:
        assert (store.ledger, store.progress, store.last_run) == before
        assert store.progress.acknowledged == 1
        assert {name: tensor.tolist() for name, tensor in store.memory.items()} == {"0/kept": [0, 1, 2], "n": 4}
        assert store.ledger == charge((), agreed.releases(asked()))


def test_memories_last_until_others_are_kept_and_are_not_of_another_run(tmp_path):
    with entered(tmp_path) as store:
        for number, memory in ((1, {"a": torch.ones(1)}), (2, None), (3, {"a": torch.zeros(1)})):
            store.begin(asked(number))
            store.settle((), memory=memory)
            assert float(store.memory["a"]) == (1.0 if number < 3 else 0.0)
        store.enter("run-b", terms())
        assert store.memory == {}


def test_the_most_that_a_round_can_release_is_on_the_disk_before_it_begins_and_stays_if_the_process_ends(tmp_path):
    agreed = terms(DpWeights(noise_multiplier=1.0), GaussianNoise())
    with entered(tmp_path, agreed) as store:
        store.begin(asked())
        assert store.ledger == agreed.releases(asked())
    with ClientStore(tmp_path) as store:  # it died in mid-round
        assert store.ledger == agreed.releases(asked())
        with pytest.raises(RunError, match="no round is under way"):
            store.settle(())


def test_a_round_in_which_nothing_left_costs_nothing(tmp_path):
    with entered(tmp_path) as store:
        store.begin(asked())
        store.settle(())
        assert store.ledger == ()


@pytest.mark.parametrize("more", ["twice as many", "another mechanism"])
def test_a_round_that_released_more_than_was_charged_stays_charged_in_full(tmp_path, more):
    agreed = terms(DpWeights(noise_multiplier=1.0))
    (once,) = agreed.releases(asked())
    with entered(tmp_path, agreed) as store:
        store.begin(asked())
        with pytest.raises(RunError, match="more than it was charged with"):
            store.settle([once, once] if more == "twice as many" else [RandomizedResponse(epsilon=9.0)])
        assert store.ledger == (once,)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"number": ROUNDS + 1}, "round beyond the plan"),
        ({"number": 0}, "round beyond the plan"),
        ({"batches": 11}, "more batches than agreed"),
        ({"batches": 0}, "no batches"),
        ({"batch_size": 20}, "batch size not agreed"),
        ({"tier": 3}, "tier not agreed"),
        ({"run": "run-b"}, "not the run that this client joined"),
    ],
)
def test_what_was_not_agreed_to_is_refused_and_nothing_is_charged(tmp_path, wrong, reason):
    with entered(tmp_path) as store:
        refusal = store.refuses(asked(**wrong))
        assert refusal is not None
        assert refusal.reason == reason
        with pytest.raises(InputError, match=reason):
            store.begin(asked(**wrong))
        assert store.ledger == ()


def test_a_second_round_at_the_same_time_is_refused(tmp_path):
    with entered(tmp_path) as store:
        store.begin(asked(1))
        assert store.refuses(asked(2)).reason == "another round is under way"


def test_a_server_cannot_name_a_profile_that_switches_a_defense_off(tmp_path):
    ruled = only_where("profile=0.2cpu-30mbps", DpWeights(noise_multiplier=1.0))
    with pytest.raises(ValueError, match="depend on the profile"):
        terms(ruled)
    agreed = terms(ruled, profiles=frozenset({"0.2cpu-30mbps"}))
    with entered(tmp_path, agreed) as store:
        assert store.refuses(asked(profile="4cpu-100mbps")).reason == "resource profile not agreed"
        assert store.refuses(asked(profile="0.2cpu-30mbps")) is None


CALIBRATED = {
    "steps": lambda: terms(DpWeights(epsilon=3.0)),
    "releases": lambda: terms(DpActivations(epsilon=8.0)),
    "inputs": lambda: terms(PixelDp(epsilon=8.0, fixed=False)),
}


@pytest.mark.parametrize("kind", CALIBRATED)
def test_a_budget_for_three_rounds_lasts_for_three_whatever_the_server_calls_them(tmp_path, kind):
    agreed = CALIBRATED[kind]()
    with entered(tmp_path, agreed) as store:
        repeated = [asked(1)] * 4 + [asked(2), asked(3)]
        assert play(store, agreed, *repeated) == 3
        spent = epsilon(store.ledger)
    target = {"steps": 3.0}.get(kind, 8.0)
    assert 0.9 * target < spent <= target * (1 + 1e-6)


@pytest.mark.parametrize("kind", CALIBRATED)
def test_a_budget_is_of_the_data_and_not_of_a_run_or_a_process(tmp_path, kind):
    agreed = CALIBRATED[kind]()
    taken = 0
    for run in ("run-a", "run-b", "run-c"):
        with entered(tmp_path, agreed, run) as store:
            taken += play(store, agreed, *(asked(number, run=run) for number in (1, 2)))
            last = store.refuses(asked(3, run=run))
    assert taken == 3
    assert last.reason == "privacy budget spent"


def test_a_budget_is_not_renewed_by_another_configuration(tmp_path):
    agreed = CALIBRATED["steps"]()
    with entered(tmp_path, agreed) as store:
        assert play(store, agreed, asked(1), asked(2), asked(3)) == 3
    with entered(tmp_path, agreed, "run-b", config=CONFIG + "seed = 5\n", accept=True) as store:
        assert store.refuses(asked(1, run="run-b")).reason == "privacy budget spent"


def test_without_a_budget_a_run_still_has_no_more_rounds_than_were_agreed_to_whatever_their_numbers(tmp_path):
    agreed = terms(DpWeights(noise_multiplier=1.0))
    with entered(tmp_path, agreed) as store:
        assert play(store, agreed, *[asked(2)] * 5) == ROUNDS
        assert store.refuses(asked(3)).reason == "as many rounds as agreed"
    undefended = terms(GaussianNoise())
    with entered(tmp_path / "other", undefended) as store:  # nothing to spend: a round may be repeated, not endlessly
        assert play(store, undefended, *[asked(2)] * 30) == ROUNDS + SPARE_ROUNDS
        assert store.refuses(asked(3)).reason == "as many rounds as agreed"
    longer = terms(GaussianNoise(), rounds=20)
    with entered(tmp_path / "longer", longer) as store:
        assert play(store, longer, *[asked(2)] * 50) == 40


def test_no_reason_for_a_server_tells_a_figure_of_the_ledger(tmp_path):
    agreed = CALIBRATED["steps"]()
    with entered(tmp_path, agreed) as store:
        play(store, agreed, *[asked(1)] * 3)
        assert not any(character.isdigit() for character in store.refuses(asked(1)).reason)


def test_a_memoised_draw_counts_once_in_a_configuration_and_once_more_in_another(tmp_path):
    agreed = terms(PixelDp(noise_multiplier=50.0), LabelRr(epsilon=2.0))
    with entered(tmp_path, agreed) as store:
        play(store, agreed, asked(1), asked(2))
        once = {type(entry): entry for entry in store.ledger}
    assert once[RandomizedResponse].epsilon == 2.0
    assert once[NoisyInputs].releases == 1
    with entered(tmp_path, agreed, "run-b") as store:
        play(store, agreed, asked(1, run="run-b"))
        assert {type(entry): entry for entry in store.ledger} == once
    with entered(tmp_path, agreed, "run-c", config=CONFIG + "seed = 5\n", accept=True) as store:
        play(store, agreed, asked(1, run="run-c"))
        draws = [entry for entry in store.ledger if isinstance(entry, RandomizedResponse)]
        assert [draw.epsilon for draw in draws] == [4.0]
        assert sum(entry.releases for entry in store.ledger if isinstance(entry, NoisyInputs)) == 2


def test_the_first_configuration_is_kept_and_another_one_is_refused_by_name(tmp_path):
    other = CONFIG.replace("rounds = 3", "rounds = 30") + "epsilon = 99.0\n"
    with ClientStore(tmp_path) as store:
        assert store.agree(CONFIG)
        assert not store.agree(CONFIG)
        assert store.config.sha256 == hashlib.sha256(CONFIG.encode()).hexdigest()
        with pytest.raises(InputError, match=r"rounds: 3 -> 30.*--accept-config"):
            store.agree(other)
        assert store.config.text == CONFIG
    with ClientStore(tmp_path) as store:
        assert store.agree(other, accept=True)
        with pytest.raises(InputError, match="rounds: 30 -> 3"):
            store.agree(CONFIG)


def test_classes_are_agreed_to_as_well_or_a_server_could_have_labels_drawn_again_and_again(tmp_path):
    agreed, once = terms(LabelRr(epsilon=2.0)), ("cat", "dog")
    with ClientStore(tmp_path) as store:
        store.agree(CONFIG, once)
        store.enter("run-a", agreed)
        play(store, agreed, asked(1))
    for classes in (("dog", "cat"), ("cat", "dog", "owl")):
        with ClientStore(tmp_path) as store, pytest.raises(InputError, match=r"\(classes: other names, or in another"):
            store.agree(CONFIG, classes)
    with ClientStore(tmp_path) as store:
        assert not store.agree(CONFIG, once)
        assert store.agree(CONFIG, ("cat", "dog", "owl"), accept=True)
        store.enter("run-b", agreed)
        play(store, agreed, asked(1, run="run-b"))
        assert store.ledger == (RandomizedResponse(epsilon=4.0),)  # they were drawn twice


def test_what_a_server_sends_as_configuration_or_name_is_checked_and_shown_safely(tmp_path):
    with ClientStore(tmp_path) as store:
        for wrong in ("rounds = ", "x" * 2**21, "a = '\ud800'"):
            with pytest.raises(InputError, match="the server's configuration"):
                store.agree(wrong)
        assert store.config is None
        with pytest.raises(InputError, match="agreed to its configuration"):
            store.enter("run-a", terms())
        store.agree(CONFIG)
        for wrong in ("", "../up", "a b", "x" * 101, "\x1b[2J"):
            with pytest.raises(InputError, match="names its run") as refused:
                store.enter(wrong, terms())
            assert "\x1b" not in str(refused.value)
        with pytest.raises(InputError) as refused:
            store.agree(CONFIG + '"\\u001b[2J" = "\\u001b[2J"\n')
        assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", b""),
        ("state.json", b"{"),
        ("state.json", b"[" * 100_000),
        ("state.json", b'{"format": 2}'),
        ("state.json", b'{"format": 1, "more": 0}'),
        ("state.json", b'{"format": 1, "ledgers": {"00": []}}'),
        ("state.json", b'{"format": 1, "ledgers": {"%s": [{"kind": "Free"}]}}' % (b"0" * 64)),
        ("state.json", b'{"format": 1, "run": "../up"}'),
        ("secret", b"short"),
        ("secret", b"x" * 33),
    ],
)
def test_a_damaged_store_is_refused_and_left_as_it_is(tmp_path, file, content):
    ClientStore(tmp_path).close()
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged .*" + file):
        ClientStore(tmp_path)
    assert path.read_bytes() == content


def test_a_store_without_its_secret_or_with_one_that_others_can_read_is_refused(tmp_path):
    ClientStore(tmp_path).close()
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(InputError, match="can be read by others"):
        ClientStore(tmp_path)
    (tmp_path / "secret").unlink()
    with pytest.raises(InputError, match="secret: it is not there"):
        ClientStore(tmp_path)


def test_damaged_memories_are_refused(tmp_path):
    with entered(tmp_path) as store:
        store.begin(asked())
        store.settle((), memory={"a": torch.ones(3)})
        (path,) = tmp_path.glob("memory-*.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        with pytest.raises(InputError, match=r"memory-0\.safetensors: not the SHA-256"):
            _ = store.memory
        path.unlink()
        with pytest.raises(InputError, match="damaged"):
            _ = store.memory


class Killed(BaseException):
    """The process ends here."""


def test_wherever_the_process_is_killed_no_less_is_charged_than_has_left(tmp_path, monkeypatch):
    """Kill it at each step that touches the disk, open the store anew, and compare with what had left by then."""
    agreed = terms(DpWeights(noise_multiplier=1.0))
    steps, killed_after, left = 0, 0, 0

    def counting(real):
        def step(*arguments, **options):
            nonlocal steps
            steps += 1
            if steps > killed_after:
                raise Killed
            return real(*arguments, **options)

        return step

    for name in ("open", "fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, counting(getattr(os, name)))
    folder = tmp_path
    while True:
        killed_after, steps, left, kept = killed_after + 1, 0, 0, None
        folder = tmp_path / str(killed_after)
        try:
            with entered(folder, agreed) as store:
                for number in (1, 2):
                    store.begin(asked(number))
                    left += 1
                    store.settle(agreed.releases(asked(number)), memory={"round": torch.tensor(number)})
                    kept = number
                    store.acknowledged(number)
            break
        except Killed:
            steps = -(10**9)
            with entered(folder, agreed) as store:
                charged = store.ledger[0].steps if store.ledger else 0
                assert left * 10 <= charged <= (left + 1) * 10
                if store.memory:
                    assert kept in (int(store.memory["round"]), int(store.memory["round"]) - 1, None)
                assert store.refuses(asked(3)) is None
    assert killed_after > 40  # it was killed at that many places


CHILD = """
import os, sys
sys.path.insert(0, sys.argv[2])
from stored import CONFIG, asked, terms
from dtfl_private.defenses.dp_weights import DpWeights
from dtfl_private.deployed.client_store.store import ClientStore
store = ClientStore(sys.argv[1])
store.agree(CONFIG)
store.enter("run-a", terms(DpWeights(noise_multiplier=1.0)))
store.begin(asked())
print("begun", flush=True)
sys.stdin.read()
"""


def test_a_real_kill_leaves_the_round_charged_and_the_store_free(tmp_path):
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "begun\n"
        with pytest.raises(InputError, match="in use"):
            ClientStore(tmp_path)
        child.send_signal(signal.SIGKILL)
    with entered(tmp_path) as store:
        (entry,) = store.ledger
        assert isinstance(entry, SampledGaussian)
        assert entry.steps == 10
        assert store.progress.begun == 1
        assert store.refuses(asked(1)) is None


def test_what_the_disk_refuses_is_said_and_changes_nothing(tmp_path, monkeypatch):
    with entered(tmp_path) as store:

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(state_file, "write_atomic", full)
        with pytest.raises(RunError, match="No space left"):
            store.begin(asked())
        assert store.ledger == ()
        assert store.progress.begun == 0


def test_chance_is_secret_unless_it_is_said_otherwise_and_then_no_guarantee_is_stated(tmp_path):
    agreed = terms(DpWeights(noise_multiplier=1.0))
    with entered(tmp_path, agreed) as store:
        assert isinstance(store.randomness(3), SecretRandomness)
        assert "cannot repeat" in store.chance_line
        play(store, agreed, asked(1))
        assert [said.epsilon is not None for said in store.statements] == [True]
    seeded = replace(agreed, chance="seeded")
    with entered(tmp_path, seeded) as store:
        drawn = torch.rand(3, generator=store.randomness(3).generator("x"))
        assert drawn.equal(torch.rand(3, generator=torch_stream(3, "x")))
        assert "no guarantee of a defense holds" in store.chance_line
        play(store, seeded, asked(2))
    with entered(tmp_path, agreed) as store:  # what the server could see through stays seen
        (said,) = store.statements
        assert (said.epsilon, said.per) == (None, None)
        assert "1 of them" in said.sentence
        assert store.ledger == charge((), [*agreed.releases(asked(1)), *agreed.releases(asked(2))])


def test_without_a_guarantee_seeded_chance_voids_nothing(tmp_path):
    with entered(tmp_path, replace(terms(GaussianNoise()), chance="seeded")) as store:
        assert "no guarantee" not in store.chance_line
        store.begin(asked(1))
        store.settle(())
    assert '"seeded": 0' in (tmp_path / "state.json").read_text("utf-8")


def test_memoised_draws_are_the_same_in_every_process_and_others_for_whatever_they_depend_on(tmp_path):
    agreed = terms(LabelRr())

    def drawn(folder="a", config=CONFIG, run="run-a", of=agreed):
        with entered(tmp_path / folder, of, run, config, accept=True) as store:
            return normal((8,), store.randomness(3).lasting("labels"))

    first = drawn()
    assert first.equal(drawn())
    assert first.equal(drawn(run="run-b"))
    for other in (
        drawn(folder="b"),
        drawn(config=CONFIG + "seed = 1\n"),
        drawn(of=terms(LabelRr(epsilon=1.0))),
        drawn(of=replace(agreed, data="1" * 64)),
        drawn(of=replace(agreed, client=1)),
    ):
        assert not first.equal(other)
    assert first.equal(drawn())
