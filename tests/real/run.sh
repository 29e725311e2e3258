#!/bin/sh
# Runs everything of ours against a cluster and tells what held. `tests/real/run.sh --help`, docs/real-cluster.md.
set -eu
cd "$(dirname "$0")/../.."
python=.venv/airflow/bin/python
test -x "$python" || { echo "There is no $python: run make setup first." >&2; exit 1; }
PYTHONPATH=plugins:. exec "$python" -m tests.real "$@"
