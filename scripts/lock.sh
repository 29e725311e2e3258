#!/usr/bin/env bash
# Compiles the *.in files into pinned requirement files. Needs the package index and a few minutes.
set -eu
cd "$(dirname "$0")/.."
for file in requirements include/requirements requirements-dev include/requirements-dev deploy/compose/postgres \
  deploy/compose/mlflow benchmarks/rivals/requirements benchmarks/rivals/requirements-kserve \
  plugins/kubeflow_provider/docs/requirements \
  plugins/local_services/kserve_server/requirements; do
  echo "$file.txt"
  CUSTOM_COMPILE_COMMAND="make lock" .venv/airflow/bin/pip-compile --quiet --strip-extras --no-emit-index-url \
    --no-emit-find-links --no-emit-trusted-host --resolver=backtracking "$@" "$file.in" --output-file "$file.txt"
  # A local version such as 2.13.0+cpu belongs to the machine that compiled the file.
  sed -i.bak -E 's/^(torch==[0-9.]+)\+[a-z0-9]+/\1/' "$file.txt" && rm "$file.txt.bak"
done
