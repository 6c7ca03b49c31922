"""Why an attack is refused for want of something that the attacked round does not have, in one line each."""

from dtfl_private.errors import InputError


class NoneCanRunError(InputError):
    """Attacks that may be left out where they cannot run, and none of which can run anywhere."""


def once_only(attack: str, tier: int) -> InputError:
    """Return the error for an attack that needs several releases of a tier's victims, where there is one."""
    return InputError(
        f"{attack} needs several releases of the same records, and of the victims in tier {tier} there is one: train "
        "with --record-rounds (two or more, in which they are in a tier), or with two --local-epochs"
    )


def last_round_only(attack: str) -> InputError:
    """Return the error for an attack that needs the server's half of a round before the last."""
    return InputError(
        f"{attack} needs the server's half of the victims' round, which is kept for the last round only: use --replay"
    )


def rounds_with_gaps(attack: str) -> InputError:
    """Return the error for an attack on a weight update that depends on more records than were sent."""
    return InputError(
        f"{attack} explains a client's weight update by all the records that it sent, and with --send-every it trains "
        "on others as well: attack a run that sends every batch"
    )
