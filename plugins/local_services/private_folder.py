"""What a server that this machine runs shares with nobody: the folder of its sockets, and what it is told."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError

#: What a server may see of its parent's environment. A model's code gets all that the server has, so the tokens and
#: connections of an Airflow worker must not be in it.
_ENVIRONMENT = frozenset(
    {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TZ", "USER"}
    | {"CUDA_HOME", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES"}
    | {"MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
)
#: Longest path that a socket can have on every system (macOS: 104 bytes with the zero at its end).
_MAX_SOCKET_PATH = 103


def socket_folder(state_dir: Path, name: str = "kubeflow-provider") -> Path:
    """Return the folder for the sockets of the server of a state folder.

    Sockets need a short path, which a project's folder may not have.
    """
    digest = hashlib.sha256(str(state_dir).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()).resolve() / f"{name}-{os.getuid()}-{digest}"


def check_socket_path(path: Path) -> None:
    """Refuse a path that is too long for a socket.

    :raises InvalidRequestError: with the remedy.
    """
    if len(str(path).encode()) > _MAX_SOCKET_PATH:
        raise InvalidRequestError(f"{path} is too long for a socket. Set TMPDIR to a folder with a shorter path.")


def check_private(folder: Path) -> None:
    """Make sure that nobody else has made the folder, or can enter it.

    :raises PermissionDeniedError: when somebody can: whoever listens there is not the server that we started.
    """
    status = folder.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    if not is_private or status.st_uid != os.getuid():
        raise PermissionDeniedError(
            f"{folder} must be a folder of this user that nobody else can enter (mode 0700), and is not. "
            "Find out who made it, then remove it."
        )


def inherited_environment(python: str) -> dict[str, str]:
    """Return what a server gets of this process's environment, with its interpreter's programs first.

    :param python: interpreter of the server, absolute path.
    """
    inherited = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT}
    inherited["PATH"] = f"{Path(python).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return inherited
