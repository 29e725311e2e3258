"""Child processes of the pipeline half: what they inherit, and how all of them are found again and stopped.

They are known by a mark in their environment (:mod:`include.marked_processes`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import psutil

from include.marked_processes import end

#: Environment variable with the mark. Runs that are going on carry it: never rename.
MARK = "PIPELINE_RUN_ID"

_KILL_SECONDS = 2.0

#: What a child is given of its parent's environment. It loads other people's models, so the rest stays here: Airflow's
#: keys, the address of the alerts, databases. ``*`` at the end of a name stands for whatever follows.
_INHERITED = (
    # The machine, its languages, its proxies and the certificates that it trusts.
    *("HOME", "USER", "LOGNAME", "PATH", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "XDG_CACHE_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    # Processors.
    *("CUDA_*", "NVIDIA_*", "LD_LIBRARY_PATH", "OMP_*", "MKL_*", "OPENBLAS_*", "TORCH*", "PYTORCH_*", "TOKENIZERS_*"),
    # Stores of data and models, the Hub, and MLflow as a client.
    *("AWS_*", "S3_*", "GOOGLE_*", "GCSFS_*", "AZURE_*", "FSSPEC_*", "HF_*", "HUGGING_FACE_*", "TRANSFORMERS_*"),
    *("MLFLOW_TRACKING_*", "MLFLOW_HTTP_*", "MLFLOW_S3_*", "MLFLOW_ENABLE_*"),
    # This project's own.
    *("CODE_REVISION", "MODEL_STORE", "MODELS_DIR", "TRAINING_IMAGE"),
)


def child_environment(python: str, project_dir: str, mark: str, *, more: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment for a child: what it needs of this process's.

    :param python: interpreter of the child, absolute path.
    :param project_dir: the one folder that the child imports from besides its own packages.
    :param mark: see :data:`MARK`.
    :param more: names of further variables that it needs; ``*`` at the end stands for whatever follows.
    """
    wanted = (*_INHERITED, *more)
    inherited = {
        name: value for name, value in os.environ.items() if any(fnmatchcase(name, pattern) for pattern in wanted)
    }
    return inherited | {
        "PATH": os.pathsep.join([str(Path(python).parent), inherited.get("PATH", os.defpath)]),
        "PYTHONPATH": project_dir,
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        MARK: mark,
    }


def terminate_marked(mark: str, *, grace_seconds: float = 3.0) -> None:
    """Stop every process that carries the mark: ask, wait, then kill.

    :param grace_seconds: how long they have to end by themselves. Airflow kills a task five seconds after it asked
        the task to stop, so the default leaves time for the rest.
    """
    if end(MARK, mark, psutil.Process.terminate, grace_seconds):
        end(MARK, mark, psutil.Process.kill, _KILL_SECONDS)
