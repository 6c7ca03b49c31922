"""What a project was made with; kept beside the authority's key, so that clients can be added later."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dtfl_private.deployed.project.authority import AUTHORITY_DAYS
from dtfl_private.errors import InputError, shortened
from dtfl_private.files import reading

LARGEST_SETTINGS_BYTES = 2**16

HostName = str | IPv4Address | IPv6Address
"""Where a server is reached: a host's name, or an address."""

# Always in the server's certificate: to try a project on one machine, and between the containers of its compose file.
OWN_NAMES = ("localhost", "127.0.0.1", "::1", "server")

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
LONGEST_HOST = 253

Days = Annotated[int, Field(ge=1, le=AUTHORITY_DAYS)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ProjectSettings(BaseModel):
    """What `init` was told.

    Attributes:
        names: under which clients may reach the server; the first is the one in their instructions.
        port: on which the server listens.
        days: for which certificates are valid.
        needs_data: whether clients must name a folder of data.
        issued: how many clients have been given certificates, hence the number of the next one.
        flower: whether it is a project for Flower, whose clients have keys of SuperNodes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    project: Annotated[str, Field(min_length=1, max_length=255)]
    names: Annotated[list[Annotated[str, Field(max_length=LONGEST_HOST)]], Field(min_length=1, max_length=100)]
    port: Port
    days: Days
    needs_data: bool
    issued: Annotated[int, Field(ge=1)]
    flower: bool = False

    @property
    def address(self) -> str:
        """Where clients find the server, HOST:PORT."""
        host = parse_host(self.names[0])
        return f"[{host}]:{self.port}" if isinstance(host, IPv6Address) else f"{host}:{self.port}"

    @property
    def hosts(self) -> list[HostName]:
        """The names in the server's certificate."""
        return list(dict.fromkeys(map(parse_host, [*self.names, *OWN_NAMES])))


def parse_host(text: str) -> HostName:
    """Return a host's name or an address as it stands in a certificate.

    Raises:
        InputError: it is neither; a port, a scheme or a ``*`` is refused.
    """
    try:
        return ip_address(text)
    except ValueError:
        pass
    if _HOST.fullmatch(text) is None or len(text) > LONGEST_HOST or _looks_like_an_address(text):
        raise InputError(
            f"server name '{shortened(text)}' is refused: expected a host's name as 'fl.example.org' or an address as "
            "192.0.2.7, without port (--port) or scheme"
        )
    return text.lower()


def _looks_like_an_address(text: str) -> bool:
    """Whether a name ends in a number, as 10.0.0.256 does: no host's name may."""
    return text.rpartition(".")[2].isdigit()


def host_names(given: Iterable[str]) -> list[str]:
    """Return the names that a user gave for the server, each once and spelled in one way; by default this machine's."""
    return list(dict.fromkeys(str(parse_host(name.strip())) for name in given)) or ["localhost"]


def settings_document(settings: ProjectSettings) -> bytes:
    """Return the text of project.json."""
    return (settings.model_dump_json(indent=2) + "\n").encode()


def read_settings(path: Path, project: Path) -> ProjectSettings:
    """Return what the project.json of a project holds.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        settings = ProjectSettings.model_validate_json(reading.read_bytes(path, most_bytes=LARGEST_SETTINGS_BYTES))
    except FileNotFoundError:
        raise InputError(f"'{project}' is no project of `deploy init`: it has no {path.relative_to(project)}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(f"'{path}' is damaged: {'.'.join(map(str, first['loc']))} {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read: {reading.reason(error)}") from None
    _ = settings.hosts  # refused here, if one is no name
    return settings
