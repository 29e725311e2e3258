#!/usr/bin/env bash
# Runs the tests of both halves, each in its own environment, and ends with one line for both.
# Arguments go to pytest: scripts/test.sh -k smoke
# $TEST_WORKERS tests run at a time (2): most of them wait for a server, a scheduler or a training.
set -u
cd "$(dirname "$0")/.."
unset PYTHONPATH AIRFLOW_HOME
pipeline_half="tests/classifier tests/pipelines tests/sample_data"
airflow_half=$(find tests -mindepth 1 -maxdepth 1 -type d ! -name '__pycache__' | sort)
for folder in $pipeline_half; do airflow_half=$(echo "$airflow_half" | grep -vx "$folder"); done

# Two trainings with two threads each on two cores take several times as long as with one each.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
workers="-n ${TEST_WORKERS:-2} --dist loadfile"
status=0
echo "== The pipeline half =="
.venv/pipelines/bin/python -m pytest $workers $pipeline_half "$@" || status=$?
[ "$status" -eq 5 ] && status=0  # no test matched the arguments
echo "== The Airflow half, and both together =="
.venv/airflow/bin/python -m pytest $workers $airflow_half "$@" || { code=$?; [ "$code" -eq 5 ] || status=$code; }
exit "$status"
