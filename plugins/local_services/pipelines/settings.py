"""What a connection to the pipelines of this machine says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Connection

from kubeflow_provider.connection_fields import ConnectionFields

#: kfp.local replaces it in every argument of a step, by the path of its interpreter.
REFUSED_TEXT = "python3"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPipelinesSettings:
    """The connection's fields.

    :param python: interpreter of the pipeline half's environment, absolute path.
    :param project_dir: folder that holds ``include``.
    :param runs_dir: keeps state and log of every run.
    :param environment: names of variables that runs need, besides those that every run is given.
    :param worker: a worker (:mod:`local_services.pipelines.worker`) starts the runs, not whoever asks for them.
    """

    python: str
    project_dir: str
    runs_dir: Path
    environment: tuple[str, ...] = ()
    worker: bool = False

    @classmethod
    def from_connection(cls, connection: Connection) -> LocalPipelinesSettings:
        """Read the extra fields.

        :raises InvalidRequestError: naming every field that is missing or wrong.
        """
        fields = ConnectionFields(connection)
        python, project_dir = fields.absolute_path("python"), fields.absolute_path("project_dir")
        runs_dir = fields.absolute_path("runs_dir")
        if REFUSED_TEXT in str(runs_dir):
            fields.problems.append(
                f"runs_dir: {REFUSED_TEXT!r} must not occur in it, because kfp.local replaces that text"
            )
        worker = fields.flag("worker", False)
        fields.check()
        assert python and project_dir and runs_dir  # or `check` had raised
        return cls(
            python=str(python),
            project_dir=str(project_dir),
            runs_dir=runs_dir,
            environment=tuple(fields.text("environment").replace(",", " ").split()),
            worker=worker,
        )
