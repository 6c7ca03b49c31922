"""Whether the extras ``deploy`` and ``flower`` are installed."""

from importlib.util import find_spec

from dtfl_private.errors import InputError

PACKAGES = ("grpc", "cryptography")
FLOWER = "flwr"


def require_deploy_extra() -> None:
    """Raise `InputError` where what `deploy` needs beyond the plain installation is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f'deploy needs what is not installed ({", ".join(missing)}): pip install "dtfl-private[deploy]"'
        )


def require_flower_extra() -> None:
    """Raise `InputError` where Flower is not installed, or what `deploy` needs."""
    require_deploy_extra()
    if find_spec(FLOWER) is None:
        raise InputError('deploy with Flower needs what is not installed (flwr): pip install "dtfl-private[flower]"')
