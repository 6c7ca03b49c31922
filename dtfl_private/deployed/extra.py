"""Whether the extra ``deploy`` is installed."""

from importlib.util import find_spec

from dtfl_private.errors import InputError

PACKAGES = ("grpc", "cryptography")


def require_deploy_extra() -> None:
    """Raise `InputError` where what `deploy` needs beyond the plain installation is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f'deploy needs what is not installed ({", ".join(missing)}): pip install "dtfl-private[deploy]"'
        )
