# The one image of the pipeline half: it preprocesses, trains, packs and serves.
#
#   make image [IMAGE=registry.example.com/team/kubeflow-model-release:0.1.0] [PIP_EXTRA_INDEX_URL=<wheel index>]
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
    MPLCONFIGDIR=/tmp/matplotlib \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    CODE_REVISION=${CODE_REVISION}
WORKDIR /app
USER 1000:0
# 8080: predictions. 8082: metrics for Prometheus. Kubeflow's steps and module pods bring commands of their own.
EXPOSE 8080 8082
CMD ["python", "-m", "include.classifier.serve", "/mnt/models"]
