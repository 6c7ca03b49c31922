"""systemd units of the server and of a client: without privileges, started again whatever happens.

The key stays readable to root alone: systemd hands it to the service as a credential (version 250 or newer). What the
service keeps lies in its state folder, which survives restarts.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dtfl_private.deployed.project.layout import CredentialFolder
from dtfl_private.deployed.project.settings import ProjectSettings
from dtfl_private.deployed.project.start_commands import PROGRAM, join_command, serve_command
from dtfl_private.printable import printable

INSTALLED = PurePosixPath("/etc/dtfl-private")
"""Where the units expect the folders of server and client."""

DATA = "/srv/dtfl-private/data"
"""Where a client's unit expects its data."""

HANDED_OVER = Path("%d")
"""The folder of a service's credentials, in systemd's own spelling; ``%S`` is where its state folder is."""


def server_unit(settings: ProjectSettings) -> str:
    """Return the unit of the server."""
    command = serve_command(
        config=str(HANDED_OVER / "config.toml"),
        listen=f"0.0.0.0:{settings.port}",
        out=f"%S/{service('server')}/run",
        credentials=CredentialFolder(path=HANDED_OVER, name="server"),
    )
    return _unit("server", f"server of {settings.project}", command, files=("config.toml", *_files("server")))


def client_unit(settings: ProjectSettings, client: int) -> str:
    """Return the unit of client number ``client``."""
    command = join_command(
        address=settings.address,
        credentials=CredentialFolder(path=HANDED_OVER, name="client"),
        store=f"%S/{service('client')}/store",
        data=DATA if settings.needs_data else None,
    )
    needs = f"# Its data lie in {DATA}, readable to everybody (or to a group: SupplementaryGroups=).\n"
    return _unit(
        "client",
        f"client {client} of {settings.project}",
        command,
        files=_files("client"),
        needs=needs if settings.needs_data else "",
    )


def service(side: str) -> str:
    """Return the name of a side's service."""
    return f"{PROGRAM}-{side}"


def _files(side: str) -> tuple[str, ...]:
    return "ca.pem", f"{side}.pem", f"{side}.key"


def _unit(side: str, description: str, command: Sequence[str], *, files: Sequence[str], needs: str = "") -> str:
    name, folder = service(side), INSTALLED / side
    # The server's configuration lies beside its folder, a client has its folder alone.
    where, own = ("the project's folder", "server/") if side == "server" else ("this folder", "")
    copied = [file if file == "config.toml" else f"{own}{file}" for file in files]
    handed_over = "\n".join(f"LoadCredential={file}:{folder}/{file}" for file in files)
    # In a unit, % begins what systemd puts in its place.
    said = printable(description).replace("%", "%%")
    return f"""\
# To install, as root, in {where}:
#     install -d -m 0700 {folder} && cp {" ".join(copied)} {folder}
#     cp {own}{name}.service /etc/systemd/system && systemctl daemon-reload
#     systemctl enable --now {name}
# The package is looked for in /opt/dtfl-private, made by python3 -m venv, then where the system's programs are.
{needs}
[Unit]
Description=dtfl-private, {said}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/env {PROGRAM} {" ".join(command)}
Environment=PATH=/opt/dtfl-private/bin:/usr/local/bin:/usr/bin:/bin
Environment=OMP_NUM_THREADS=1 MPLCONFIGDIR=%C/{name}/matplotlib DTFL_PRIVATE_CACHE=%C/{name}
{handed_over}
StateDirectory={name}
CacheDirectory={name}

# Not after the run has ended (0), nor after a mistake in what it was given (2), which it would only repeat.
Restart=always
RestartSec=10
RestartPreventExitStatus=0 2
TimeoutStopSec=60

DynamicUser=yes
UMask=0077
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
# A graphics card is a device: leave this line out to use one.
PrivateDevices=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
