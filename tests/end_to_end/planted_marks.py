"""Secrets that can be told from everything else, and where they turned up."""

from __future__ import annotations

import base64
import sqlite3
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

#: Where the user wrote them: the configuration of a run, what Airflow keeps of the request, and of the form's defaults.
WRITTEN_BY_THE_USER = {("dag_run", "conf"), ("log", "extra"), ("serialized_dag", "data"), ("dag_code", "source_code")}


class Marks:
    """Secrets by what they are."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def __call__(self, what: str) -> str:
        """Return a new secret."""
        mark = f"mark{len(self.names)}x{token_hex(8)}"
        self.names[mark] = what
        return mark

    def pair(self, what: str) -> str:
        """Return user and password as an address has them; what a login by HTTP makes of them is secret, too."""
        user, password = self(f"user of {what}"), self(f"password of {what}")
        self.names[base64.b64encode(f"{user}:{password}".encode()).decode()] = f"login of {what}"
        return f"{user}:{password}"

    def found(self, content: bytes) -> set[str]:
        """Return what is in a content, by their names."""
        return {what for mark, what in list(self.names.items()) if mark.encode() in content}

    def in_files(self, folder: Path, *, without: Iterable[str]) -> tuple[dict[str, set[str]], int]:
        """Return which stand in which file, those in archives as well, and how many files were looked at."""
        found, files = {}, 0
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.name not in without:
                files += 1
                if seen := self.found(path.name.encode()) | self._in_file(path.read_bytes()):
                    found[str(path.relative_to(folder))] = seen
        return found, files

    def _in_file(self, content: bytes) -> set[str]:
        seen = self.found(content)
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(BytesIO(content)) as archive:
            seen = seen.union(*(self.found(archive.read(name)) for name in archive.namelist()))
        return seen

    def in_database(self, file: Path) -> dict[tuple[str, str], set[str]]:
        """Return which stand in which column of an SQLite file."""
        found: dict[tuple[str, str], set[str]] = {}
        with closing(sqlite3.connect(file)) as database:
            tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
            for table in tables:
                cursor = database.execute(f'select * from "{table}"')
                columns = [column[0] for column in cursor.description]
                for row in cursor:
                    for column, value in zip(columns, row, strict=True):
                        content = value if isinstance(value, bytes) else str(value).encode()
                        if seen := self.found(content):
                            found.setdefault((table, column), set()).update(seen)
        return found


@contextmanager
def command_lines(marks: Marks) -> Iterator[dict[str, set[str]]]:
    """Look at the arguments of every process of this machine, again and again; yield secret -> programs."""
    found: dict[str, set[str]] = {}
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    content = file.read_bytes()
                    for what in marks.found(content):
                        found.setdefault(what, set()).add(content[:80].decode(errors="replace"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()


class _Quoting(BaseHTTPRequestHandler):
    """Lets in whoever has the right login, and quotes what others have asked with."""

    files: Mapping[str, tuple[str, bytes]] = {}
    asked: list[str] = []

    def do_GET(self) -> None:
        login = self.headers.get("Authorization", "")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(f"{self.path} {login}")
        path = urlsplit(self.path).path
        wanted, content = self.files.get(path, ("", b""))
        status = 200 if content and login.endswith(wanted) else 500 if "broken" in path else 401 if login else 403
        said = f"denied: {self.path} {login} {self.headers.get('Cookie', '')}"
        self.send_response(status)
        body = content if status == 200 else f'{{"error_code": "DENIED", "message": "{said}"}}'.encode()
        self.send_header("Content-Type", "text/csv" if status == 200 else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_HEAD = do_PUT = do_GET

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@contextmanager
def quoting_server(files: Mapping[str, tuple[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Yield host and port of a server, with what it was asked.

    :param files: path -> login (``user:password``) that opens it, and content.
    """
    wanted = {path: (base64.b64encode(login.encode()).decode(), content) for path, (login, content) in files.items()}
    handler = type("Handler", (_Quoting,), {"files": wanted, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}", handler.asked
        finally:
            server.shutdown()
