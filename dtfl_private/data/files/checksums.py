"""Which file is to blame where torchvision has found a data set that is absent or not the published one."""

from collections.abc import Mapping
from pathlib import Path

from dtfl_private.data.facts import DatasetFacts
from dtfl_private.errors import InputError


def refused(
    facts: DatasetFacts, data_dir: Path, md5_of: Mapping[str, str], error: Exception, download: bool
) -> InputError:
    """Return the error that names the first missing, unreadable or changed file, or how to get data that are absent.

    Args:
        facts: of the data set.
        data_dir: folder that the files are in.
        md5_of: published MD5 of each file, by its path below ``data_dir``.
        error: what torchvision raised.
        download: whether the user asked for a download; then missing files are not the cause but its failure is.
    """
    reason = _reason(error)
    if isinstance(error, RuntimeError):  # torchvision's word for all that is not intact; anything else says its cause
        try:
            if not download and not any((data_dir / name).exists() for name in md5_of):
                return facts.absent(data_dir)
            reason = _first_fault(data_dir, md5_of, download) or reason
        except OSError as unreadable:
            reason = _reason(unreadable)
    remedy = "fetch it again" if download else "add --download, or fetch it again"
    return InputError(f"no intact {facts.title} in {data_dir} ({reason}): {remedy}")


def _first_fault(data_dir: Path, md5_of: Mapping[str, str], download: bool) -> str | None:
    from torchvision.datasets.utils import check_integrity

    for name, md5 in md5_of.items():
        path = data_dir / name
        if not path.exists():
            if not download:
                return f"{name} is missing"
        elif not path.is_file():
            return f"{name} is not a file"
        elif not check_integrity(path, md5):
            return f"{name} is not the published file: its MD5 is not {md5}"
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read: {error.strerror}"
    return " ".join(str(error).split()).partition(". ")[0]
