# The images. The last stage is the one of the pipeline half: it preprocesses, trains, packs and serves in a cluster.
#
#   make image [IMAGE=registry.example.com/team/kubeflow-model-release:0.1.0] [PIP_EXTRA_INDEX_URL=<wheel index>]
#
# The others are for docker-compose.yaml, and `make up` builds them:
#
#   airflow                  the Airflow half
#   airflow-with-pipelines   the same with the pipeline half's environment beside it, for the embedded world
#   mlflow                   an MLflow server for PostgreSQL, and what trainings reach of it
#
# and model-server, for a cluster, serves models of pipelines of anybody's (deploy/kserve/model-server.yaml).
#
# include/requirements.txt pins torch without saying for which accelerator. The package index's own wheel is the CUDA
# build; with PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU wheels pip takes those, which are some GB smaller.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS environment
# Read by pip, and only where they are given: a default here would override the base image's own pip settings.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY include/requirements.txt /tmp/requirements.txt
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/requirements.txt
# Packages for more formats of data, see docs/adding-a-model.md.
ARG PIPELINES_EXTRA_PACKAGES=""
RUN if [ -n "${PIPELINES_EXTRA_PACKAGES}" ]; then \
      /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check ${PIPELINES_EXTRA_PACKAGES} \
      && /opt/venv/bin/pip check; \
    fi

# The Airflow half's packages, with the drivers for PostgreSQL.
FROM ${BASE} AS airflow-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY requirements.txt deploy/compose/postgres.txt /tmp/
RUN python3 -m venv /opt/airflow \
    && /opt/airflow/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/requirements.txt -r /tmp/postgres.txt
# Packages that a team needs besides, for example its object store's file system. They may move a pin that they do not go
# with, as boto3 does: what comes out must fit together.
ARG AIRFLOW_EXTRA_PACKAGES=""
RUN if [ -n "${AIRFLOW_EXTRA_PACKAGES}" ]; then \
      /opt/airflow/bin/pip install --no-cache-dir --disable-pip-version-check ${AIRFLOW_EXTRA_PACKAGES} \
      && /opt/airflow/bin/pip check; \
    fi

# The project. The code that runs is plugins/; the installed copies are there for their entry points, from which Airflow
# knows the connection types, and operators their hooks.
FROM airflow-environment AS project
WORKDIR /opt/project
COPY plugins plugins
RUN /opt/airflow/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-compile --target packages \
      ./plugins/kubeflow_provider ./plugins/local_services ./plugins/model_releases \
    && rm -rf plugins/*/build plugins/*/*.egg-info
COPY dags dags
COPY include include
COPY deploy/compose/healthy.py deploy/compose/

# Everything of the Airflow images that changes less often than the project.
FROM ${BASE} AS airflow-base
# And programs, for example git for DAGs that come from there.
ARG AIRFLOW_EXTRA_DEBIAN_PACKAGES=""
RUN if [ -n "${AIRFLOW_EXTRA_DEBIAN_PACKAGES}" ]; then \
      apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends ${AIRFLOW_EXTRA_DEBIAN_PACKAGES} \
      && rm -rf /var/lib/apt/lists/*; \
    fi
# Volumes take their owner from these folders. They hold models, logs and sockets: nobody else may look inside.
RUN useradd --uid 1000 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
    && install --directory --owner=1000 --group=0 --mode=0700 /var/lib/releases /var/lib/releases/store \
       /var/lib/releases/runs /var/lib/releases/serving /var/lib/releases/native /var/log/airflow \
       /var/cache/huggingface
COPY --from=airflow-environment /opt/airflow /opt/airflow
# Nothing is written outside /tmp and the volumes, so that the root file system may be read-only.
ENV PATH=/opt/airflow/bin:${PATH} \
    PYTHONPATH=/opt/project:/opt/project/plugins:/opt/project/packages \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    AIRFLOW_HOME=/tmp/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/project/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/project/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/var/log/airflow \
    HF_HOME=/var/cache/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /opt/project
USER 1000:0

FROM airflow-base AS airflow-with-pipelines-base
COPY --from=environment /opt/venv /opt/venv

FROM airflow-base AS airflow
COPY --from=project /opt/project /opt/project
ARG CODE_REVISION=unknown
LABEL org.opencontainers.image.title="kubeflow-model-release-airflow" \
      org.opencontainers.image.revision="${CODE_REVISION}"
ENV CODE_REVISION=${CODE_REVISION}

FROM airflow-with-pipelines-base AS airflow-with-pipelines
COPY --from=project /opt/project /opt/project
ARG CODE_REVISION=unknown
LABEL org.opencontainers.image.title="kubeflow-model-release-airflow-with-pipelines" \
      org.opencontainers.image.revision="${CODE_REVISION}"
ENV CODE_REVISION=${CODE_REVISION}

FROM ${BASE} AS mlflow-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY deploy/compose/mlflow.txt /tmp/mlflow.txt
RUN python3 -m venv /opt/mlflow \
    && /opt/mlflow/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/mlflow.txt

FROM ${BASE} AS mlflow
RUN useradd --uid 1000 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app \
    && install --directory --owner=1000 --group=0 --mode=0700 /var/lib/mlflow
COPY --from=mlflow-environment /opt/mlflow /opt/mlflow
COPY deploy/compose/healthy.py deploy/compose/tracking_proxy.py /opt/project/deploy/compose/
ENV PATH=/opt/mlflow/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_DISABLE_TELEMETRY=true
USER 1000:0
EXPOSE 5000
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000"]

FROM ${BASE} AS model-server-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
COPY plugins/local_services/kserve_server/requirements.txt /tmp/requirements.txt
RUN python3 -m venv /opt/server \
    && /opt/server/bin/pip install --no-cache-dir --disable-pip-version-check -r /tmp/requirements.txt

FROM ${BASE} AS model-server
RUN useradd --uid 1000 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --from=model-server-environment /opt/server /opt/server
COPY plugins/local_services/kserve_server/runtime /app/runtime
ENV PATH=/opt/server/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /app
USER 1000:0
EXPOSE 8080
CMD ["python", "-m", "runtime.pod", "--help"]

# The pipeline half in a cluster.
FROM ${BASE}
# A number, so that Kubernetes can see that it is not root; group 0 for clusters that choose the user themselves.
RUN useradd --uid 1000 --gid 0 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --from=environment /opt/venv /opt/venv
COPY include /app/include
ARG CODE_REVISION=unknown
LABEL org.opencontainers.image.title="kubeflow-model-release" \
      org.opencontainers.image.description="Preprocesses, trains, packs and serves a text classifier" \
      org.opencontainers.image.revision="${CODE_REVISION}"
# Nothing is written outside /tmp, so that the root file system may be read-only.
ENV PATH=/opt/venv/bin:${PATH} \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/.cache \
    HF_HOME=/tmp/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    CODE_REVISION=${CODE_REVISION}
WORKDIR /app
USER 1000:0
# 8080: predictions. 8082: metrics for Prometheus. Kubeflow's steps and module pods bring commands of their own.
EXPOSE 8080 8082
CMD ["python", "-m", "include.classifier.serve", "/mnt/models"]
