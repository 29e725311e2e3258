"""Where the servers of one machine run, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from local_services.private_folder import socket_folder
from local_services.roles import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class ServersSettings:
    """A connection's fields.

    :param host: address of the router: to listen on, or, for a client, to ask.
    :param port: port of the router.
    :param python: interpreter of the servers; a client needs none.
    :param state_dir: keeps the models, the logs and the record of what is live.
    :param role: who starts the processes.
    :param socket_dir: folder of the sockets, which nobody else can enter; default: a folder of this user below the
        system's temporary one. Containers need one that they share.
    :param public_url: address of the router as users know it, without a path; default: host and port.
    """

    host: str
    port: int
    python: str
    state_dir: Path
    role: Role = Role.ON_DEMAND
    socket_dir: Path | None = None
    public_url: str = ""

    @property
    def address(self) -> str:
        """URL of the router, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def public_address(self) -> str:
        """URL of the router as users know it, without a path."""
        return self.public_url.rstrip("/") or self.address

    @property
    def model_store(self) -> Path:
        """Folder with the versions that are, or were lately, served."""
        return self.state_dir / "models"

    def run_dir(self, kind: str) -> Path:
        """Return the folder of the processes' sockets.

        :param kind: of the servers.
        """
        return self.socket_dir or socket_folder(self.state_dir, kind)
