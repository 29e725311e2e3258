"""A PostgreSQL server on a throw-away folder, for what differs from SQLite."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

#: PostgreSQL refuses to run as root; Debian's package makes this account.
ACCOUNT = "postgres"


def find_binaries() -> Path | None:
    """Return the folder with a server's programs: the newest of Debian's, which are off the PATH, else the PATH's."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


class PostgresqlServer:
    """A running server, reached over a socket in its folder.

    :param binaries: where its programs are.
    :param folder: has the socket.
    :param account: of its superuser.
    """

    def __init__(self, binaries: Path, folder: Path, account: str) -> None:
        self._binaries, self._folder, self._account = binaries, folder, account
        self._numbers = count(1)

    def new_database(self) -> str:
        """Make an empty database and return SQLAlchemy's address of it."""
        name = f"test_{next(self._numbers)}"
        command: list[str | Path] = [self._binaries / "createdb", "--host", self._folder]
        command += ["--username", self._account, name]
        subprocess.run(command, check=True)
        return f"postgresql+psycopg2://{self._account}@/{name}?host={self._folder}"


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Yield a server that keeps nothing: whatever is written to it may be lost with the machine."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("there is no PostgreSQL server: install the package `postgresql`")
    # Not below pytest's folders, which no other account may enter; and short, as the address of a socket has to be.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    account = ACCOUNT if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shared: dict[str, Any] = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:
        shutil.chown(folder, ACCOUNT, ACCOUNT)
        folder.chmod(0o755)
        shared |= {"user": ACCOUNT, "group": ACCOUNT, "extra_groups": []}
    data = folder / "data"
    initialise: list[str | Path] = [
        binaries / "initdb",
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        data,
    ]
    subprocess.run(initialise, **shared)
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=100"
    control: list[str | Path] = [binaries / "pg_ctl", "--pgdata", data, "--wait", "--timeout=120"]
    subprocess.run([*control, "--log", folder / "log", "--options", options, "start"], **shared)
    try:
        yield PostgresqlServer(binaries, folder, account)
    finally:
        subprocess.run([*control, "--mode=immediate", "stop"], **shared)
        shutil.rmtree(folder, ignore_errors=True)
