"""The settings of the embedded world: one machine, Python and make only."""

from __future__ import annotations

import json
import os
import secrets
import stat
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from only_one import only_one

PROJECT = Path(__file__).resolve().parent.parent
if str(PROJECT) not in sys.path:
    sys.path.insert(0, str(PROJECT))  # `include` is no package that is installed
AIRFLOW = PROJECT / ".venv" / "airflow" / "bin" / "airflow"
KSERVE_PYTHON = PROJECT / ".venv" / "kserve" / "bin" / "python"
PIPELINES_PYTHON = PROJECT / ".venv" / "pipelines" / "bin" / "python"


def state_dir() -> Path:
    """Return the folder that holds everything that is not source: Airflow's home, runs, models, registry."""
    return Path(os.environ.get("STATE_DIR") or PROJECT / ".state").resolve()


def keep_private(state: Path, store: str) -> None:
    """Keep everything that is written from other users of the machine, whatever the umask: it holds people's texts.

    :param state: the state folder; one from before that everybody could enter is closed as well.
    :param store: URI of the model store; the group of a folder elsewhere shares what is written there.
    """
    from include.contracts.uris import local_path

    shared = Path(local_path(store)).resolve() if store.startswith("file:") else state
    is_inside = shared.is_relative_to(state)
    os.umask(0o077 if is_inside else 0o007)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (state / "airflow").is_dir() and state.stat().st_uid == os.getuid():
        state.chmod(0o700)
    if not is_inside:
        with suppress(OSError):  # `check` says what is wrong with a store
            _share(shared)


def _share(folder: Path) -> None:
    """Let what is written in a folder belong to its group, and to nobody else but its owner.

    :param folder: made with the group of the folder that it lies in, when it is not there; else it keeps group and
        mode, and only hands its group on to what is made in it.
    """
    from include.contracts.version.files import SHARED_FOLDER_MODE

    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o770)
        with suppress(PermissionError):  # a group that this user is not in
            os.chown(each, -1, each.parent.stat().st_gid)
        each.chmod(SHARED_FOLDER_MODE)
    status = folder.stat()
    if status.st_uid == os.getuid():
        folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_ISGID)


#: How far the native server's port lies above TorchServe's.
NATIVE_PORT_OFFSET = 3


def environment(state: Path, *, airflow_port: int = 8080, serving_port: int = 8085) -> dict[str, str]:
    """Return the settings of the embedded world.

    Connections and the model store may be set from outside. An ``AIRFLOW_HOME`` may not: it is another Airflow's.

    :param state: folder for everything that is written.
    :param airflow_port: port of Airflow's UI and API on loopback.
    :param serving_port: port of TorchServe's predictions on loopback; those of the native server have a higher one.
    """
    home = state / "airflow"
    settings = {
        "AIRFLOW_HOME": str(home),
        # Airflow's own default cannot have a percent sign in its path.
        # Airflow's processes write at the same time; by default SQLite lets one wait for the others for 5 seconds.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{_sqlite_url(home / 'airflow.db')}?timeout=60",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{airflow_port}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(airflow_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{airflow_port}",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        # While a training takes all of a small machine, an answer takes its time; by default 20 seconds fail the task.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "24",
        "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
        "PYTHONPATH": str(PROJECT),
        "MODEL_STORE": f"file://{state / 'store'}",
        "AIRFLOW_CONN_PIPELINES_DEFAULT": _connection(
            "local_pipelines", python=PIPELINES_PYTHON, project_dir=PROJECT, runs_dir=state / "runs"
        ),
        "AIRFLOW_CONN_SERVING_DEFAULT": _connection(
            "torchserve", host="127.0.0.1", port=serving_port, python=PIPELINES_PYTHON, state_dir=state / "serving"
        ),
        # Of models with `connections: {serving: serving_native}`; it runs nothing before there is one.
        "AIRFLOW_CONN_SERVING_NATIVE": _connection(
            "local_native",
            host="127.0.0.1",
            port=serving_port + NATIVE_PORT_OFFSET,
            python=PIPELINES_PYTHON,
            state_dir=state / "native",
        ),
        # For models of kind `kubeflow-model`, whose YAML names it; `make kserve-server` installs what it needs.
        "AIRFLOW_CONN_LOCAL_KSERVE_DEFAULT": _connection(
            "local_kserve", host="127.0.0.1", port=serving_port + 2, python=KSERVE_PYTHON, state_dir=state / "kserve"
        ),
        "AIRFLOW_CONN_REGISTRY_DEFAULT": _connection(
            "mlflow", tracking_uri=_sqlite_url(state / "mlflow" / "mlflow.db")
        ),
    }
    # What the form may name besides what each model does: data files beside the state folder, none of them hidden.
    settings["ALLOWED_SOURCES"] = os.environ.get("ALLOWED_SOURCES") or str(state.parent)
    if alert_url := os.environ.get("ALERT_URL"):
        settings["AIRFLOW_CONN_ALERTS_DEFAULT"] = _connection("apprise", config=[{"path": alert_url, "tag": "alerts"}])
    overridden = {name for name in settings if name.startswith("AIRFLOW_CONN_")} | {"MODEL_STORE"}
    settings |= {name: os.environ[name] for name in overridden if os.environ.get(name)}
    settings |= _secrets(home)
    return settings


def _sqlite_url(path: Path) -> str:
    # As it is wherever that means the path: what reads these URLs unquotes them.
    return f"sqlite:///{quote(str(path), safe='/ ') if set('%?#') & set(str(path)) else path}"


def _connection(conn_type: str, *, host: str | None = None, port: int | None = None, **extra: Any) -> str:
    extra = {name: str(value) if isinstance(value, Path) else value for name, value in extra.items()}
    return json.dumps({"conn_type": conn_type, "host": host, "port": port, "extra": extra})


def _secrets(home: Path) -> dict[str, str]:
    """Return keys that all Airflow processes share; made once, kept over restarts, readable by the owner only."""
    file = home / "secrets.json"
    with only_one(home / "secrets.lock"):
        if not file.exists():
            from cryptography.fernet import Fernet

            _write_private(home / "passwords.json", {"admin": secrets.token_urlsafe(12)})
            _write_private(
                file,
                {
                    "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
                    "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
                    "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
                },
            )
    return json.loads(file.read_text())


def _write_private(file: Path, content: Mapping[str, str]) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(content, stream)


def migrate(env: Mapping[str, str]) -> None:
    """Create or upgrade Airflow's database, when that has not been done with this version of Airflow."""
    from importlib.metadata import version

    home = Path(env["AIRFLOW_HOME"])
    stamp = home / f"migrated-{version('apache-airflow-core')}"
    with only_one(home / "migrate.lock"):
        if stamp.exists():
            return
        print("Preparing Airflow's database (once)", flush=True)
        answer = subprocess.run([AIRFLOW, "db", "migrate"], env={**os.environ, **env}, capture_output=True, text=True)
        if answer.returncode:
            sys.exit(f"airflow db migrate failed:\n{answer.stdout[-2000:]}{answer.stderr[-2000:]}")
        stamp.touch()
