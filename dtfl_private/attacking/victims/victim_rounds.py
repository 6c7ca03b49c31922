"""Where the victims' rounds come from: read from the run's recordings, or its last round played once more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dtfl_private.attacking.assumed import summed
from dtfl_private.attacking.attack_config import AttackConfig
from dtfl_private.attacking.attack_jobs import Job
from dtfl_private.attacking.base import Tampering
from dtfl_private.attacking.knowledge.adversary_data import Knowledge
from dtfl_private.attacking.refusals import rounds_with_gaps
from dtfl_private.attacking.victims.acting_defenses import differ_in_a_tier, least_defended, profile_in
from dtfl_private.attacking.victims.epochs import by_epoch, later_epochs, whole_epochs
from dtfl_private.attacking.victims.recorded_rounds import earlier_rounds, latest_recordings
from dtfl_private.attacking.victims.replay import OpenedRun
from dtfl_private.attacking.victims.tampered_run import tampered_run
from dtfl_private.attacking.victims.victims import VictimKind, Victims, play, recorded_victims, victim_tasks
from dtfl_private.errors import InputError
from dtfl_private.experiments.run_folder.recordings import recorded_rounds
from dtfl_private.protocol.messages import Seen
from dtfl_private.runtime.device import one_thread
from dtfl_private.training.recording import Recording
from dtfl_private.training.tasks import ClientTask


@dataclass(frozen=True, kw_only=True)
class Played:
    """What one repetition of an attack has in front of it.

    Attributes:
        victims: their rounds, with the ground truth.
        earlier: what else their clients sent of the same records; empty if the attack does not look back.
        tampering: what a malicious server sent them; None for what the protocol says.
    """

    victims: Victims
    earlier: Sequence[Seen] = ()
    tampering: Tampering | None = None

    @property
    def tier(self) -> int:
        """The tier that the clients were told: a malicious server may name another than that of the job."""
        return self.victims.recordings[0].seen.download.tier


class VictimRounds:
    """Reads or plays the victims' rounds; each is played only once, but for those that are tampered with.

    Args:
        opened: the run.
        config: how many victims there are and whose they may be, and whether recordings are used.

    Attributes:
        clients: whose records are attacked: those that are named, or all of the round; never the client whose images
            the adversary has.

    Raises:
        InputError: a client that is named took no part in the round, or none is left.
        RunError: a recording is damaged, or is not of this run.
    """

    def __init__(self, opened: OpenedRun, config: AttackConfig) -> None:
        self._opened, self._config = opened, config
        recordings = [] if config.replay else latest_recordings(opened)
        there = [one.seen.download.client for one in recordings] or [task.client for task in opened.tasks]
        self.clients = _named(sorted(set(there)), config)
        self._recordings = [one for one in recordings if one.seen.download.client in self.clients]
        self._honest: dict[tuple[int, VictimKind], Victims] = {}
        self._summed: Victims | None = None

    @property
    def recorded(self) -> bool:
        """Whether they are read from recordings."""
        return bool(self._recordings)

    @property
    def recorded_tiers(self) -> list[int]:
        """Tiers of the recorded clients; empty if the last round is played again."""
        return [recording.seen.download.tier for recording in self._recordings]

    @property
    def number(self) -> int:
        """The round that is attacked."""
        return self._recordings[0].seen.download.round if self._recordings else self._opened.plan.round

    @property
    def untampered(self) -> Mapping[tuple[int, VictimKind], Victims]:
        """Those that were read or played so far, by tier and kind, as the protocol says; a sum for those it is of."""
        whole = self._opened.whole_tier
        if self._summed is None or whole is None:
            return self._honest
        return {**self._honest, (whole, "rounds"): self._summed}

    def of(self, job: Job, tampering: Tampering | None) -> Played:
        """Return what a repetition of an attack has in front of it."""
        updates = "updates" in job.chosen.attack.facts.needs or job.tier == self._opened.whole_tier
        if updates and job.tier != self._opened.whole_tier and self._opened.prepared.worker.send_every > 1:
            raise rounds_with_gaps(job.chosen.name)
        if job.chosen.aggregate:
            return Played(victims=self._sum())
        kind: VictimKind = "rounds" if updates else "batches"
        victims = self._untampered(job.tier, kind) if tampering is None else self._play_round(job.tier, kind, tampering)
        earlier = self._earlier(victims) if job.chosen.attack.facts.looks_back and victims.seen else []
        return Played(victims=victims, earlier=earlier, tampering=tampering)

    def _sum(self) -> Victims:
        """Return the last round as one sees it who has the sum of its updates; never recorded, and played only once."""
        if self._summed is None:
            with one_thread():
                self._summed = summed(self._opened)
        return self._summed

    def require_victims(self, jobs: Sequence[Job]) -> None:
        """Refuse a tier in which none of the attacked clients was, where they are attacked in their own tiers.

        Raises:
            InputError: there is one.
        """
        if self.recorded or self._config.clients is None:
            return
        for tier in sorted({job.tier for job in jobs}):
            if not self._tasks(self._opened, tier, tier, "batches"):
                clients = ", ".join(map(str, self.clients))
                raise InputError(f"client {clients} was not in tier {tier} in the attacked round: name another --tier")

    def sent_again(self, tier: int) -> bool:
        """Whether a tier's victims were sent once more: in further epochs, or in earlier rounds that were recorded."""
        worker = self._opened.prepared.worker
        if not self.recorded and worker.local_epochs > 1 and not self._opened.sends_once:
            return True
        if self.recorded:
            clients = {recording.seen.download.client for recording in self._read_round(tier, "batches").recordings}
        else:
            clients = {task.client for task, _ in self._tasks(self._opened, tier, tier, "batches")}
        recorded = recorded_rounds(self._opened.folder.transcript)
        return any(number < self.number and client in clients for number, client in recorded)

    def profile_at(self, tier: int) -> str:
        """Return the resource profile of a tier's victims; "" where defenses do not differ by it."""
        if not differ_in_a_tier(self._opened):
            return ""
        if self.recorded:
            first = self._read_round(tier, "batches").recordings[0].seen.download
            return profile_in(self._opened, first.client, first.round)
        return self._tasks(self._opened, tier, tier, "batches")[0][0].profile

    def _untampered(self, tier: int, kind: VictimKind) -> Victims:
        if (tier, kind) not in self._honest:
            read = self.recorded
            self._honest[tier, kind] = self._read_round(tier, kind) if read else self._play_round(tier, kind, None)
        return self._honest[tier, kind]

    def _read_round(self, tier: int, kind: VictimKind) -> Victims:
        recordings = whole_epochs(self._opened, self._recordings, kind)
        return recorded_victims(self._attacked(recordings, tier), tier, self._config.victims, kind)

    def _attacked(self, recordings: Sequence[Recording], tier: int) -> Sequence[Recording]:
        """Return the recordings of the clients at whom the same defenses act, and the fewest, in a tier."""
        if not differ_in_a_tier(self._opened):
            return recordings
        there = [recording for recording in recordings if recording.seen.download.tier == tier]
        sent = [recording.seen.download for recording in there]
        profiles = {one.client: profile_in(self._opened, one.client, one.round) for one in sent}
        among = least_defended(self._opened, tier, profiles)
        return [recording for recording in there if recording.seen.download.client in among]

    def _play_round(self, tier: int, kind: VictimKind, tampering: Tampering | None) -> Victims:
        with one_thread():  # as in the run
            opened = self._opened if tampering is None else tampered_run(self._opened, tampering)
            # Who trains first and then sends does so with the weights of its update: only the whole round shows them.
            apart = opened.prepared.worker.defense.releases_apart
            tasks = self._tasks(opened, tier if tampering is None else tampering.tier, tier, kind)
            return play(opened, tasks, opened.weights, kind="rounds" if apart else kind)

    def _tasks(self, opened: OpenedRun, told: int, tier: int, kind: VictimKind) -> list[tuple[ClientTask, int]]:
        """Return the victims' clients' parts of the last round, told to be in a tier, and their victims' batches."""
        among = tier if self._config.as_scheduled else None
        return victim_tasks(opened, told, self._config.victims, kind, clients=self.clients, scheduled_in=among)

    def _earlier(self, victims: Victims) -> list[Seen]:
        """Return what else the victims' clients sent: in earlier recorded rounds, and in further epochs of this one."""
        rounds = earlier_rounds(self._opened, victims.seen)
        earlier = [epoch for one in rounds for epoch in by_epoch(self._opened, one)]
        if self.recorded:  # only their first batches are on the disk
            return earlier
        with one_thread():
            return earlier + later_epochs(self._opened, victims.seen)


def _named(there: Sequence[int], config: AttackConfig) -> Sequence[int]:
    """Return the clients that are attacked, of those that took part."""
    for client in config.clients or ():
        if client not in there:
            raise InputError(
                f"client {client} took no part in the attacked round: it was of {', '.join(map(str, there))}"
            )
    has = Knowledge.parse(config.aux).client
    if has is not None and has in (config.clients or ()):
        raise InputError(f"--aux {config.aux} has the images of client {has}, so it cannot be attacked: leave it out")
    left = [client for client in there if client != has and client in (config.clients or there)]
    if not left:
        raise InputError(f"client {has} alone took part in the attacked round, and --aux {config.aux} has its images")
    return left
