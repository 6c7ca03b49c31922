"""What lies where in a project's folder, and what its parts were made with."""

from dataclasses import dataclass
from pathlib import Path

from dtfl_private.deployed.project.identity import SERVER, client_name


@dataclass(frozen=True, kw_only=True)
class CredentialFolder:
    """The files of the server or of one client, ``name``, in a folder that can be handed over."""

    path: Path
    name: str

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.path / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The own certificate."""
        return self.path / f"{self.name}.pem"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.path / f"{self.name}.key"

    @property
    def unit(self) -> Path:
        """What starts it by systemd."""
        return self.path / f"dtfl-private-{self.name}.service"

    @property
    def readme(self) -> Path:
        """What to do with all that, in a few lines."""
        return self.path / "README.md"


@dataclass(frozen=True, kw_only=True)
class ProjectFolder:
    """The paths of a project."""

    path: Path

    @property
    def config(self) -> Path:
        """The run's configuration."""
        return self.path / "config.toml"

    @property
    def app(self) -> Path:
        """The app of a project for Flower, which has the run's configuration."""
        return self.path / "app"

    @property
    def flower_home(self) -> Path:
        """Flower's own files."""
        return self.path / "flower"

    @property
    def authority(self) -> Path:
        """What never leaves the operator: the authority's key."""
        return self.path / "authority"

    @property
    def authority_certificate(self) -> Path:
        """The authority's certificate."""
        return self.authority / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's private key."""
        return self.authority / "ca.key"

    @property
    def settings(self) -> Path:
        """What `init` was told."""
        return self.authority / "project.json"

    @property
    def server(self) -> CredentialFolder:
        """Of the server."""
        return CredentialFolder(path=self.path / SERVER, name="server")

    @property
    def clients(self) -> Path:
        """A folder for each client."""
        return self.path / "clients"

    def client(self, client: int) -> CredentialFolder:
        """Return the folder of a client. Its files have the same names at every client."""
        return CredentialFolder(path=self.clients / client_name(client), name="client")
