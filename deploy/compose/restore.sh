#!/bin/sh
# Puts a folder that backup.sh made in the place of what is there now; everything but PostgreSQL is stopped for it.
#   restore.sh ENV_FILE FOLDER
set -eu
cd "$(dirname "$0")/../.."
compose() { docker compose --env-file "$env_file" "$@"; }
env_file=$1
folder=${2:-}
scheduler=$(compose config --services | grep '^scheduler')
for file in airflow.dump mlflow.dump store.tar mlflow.tar $([ "$scheduler" = scheduler ] && echo serving.tar); do
  if [ ! -s "$folder/$file" ]; then
    echo "$folder/$file is not there: BACKUP= must name a folder that \`make backup\` has made." >&2
    exit 1
  fi
done

compose stop
compose up --detach --wait postgres
for database in airflow mlflow; do
  echo "Database $database"
  compose exec -T postgres sh -c '
    set -eu
    export PGPASSWORD=$POSTGRES_PASSWORD PGUSER=$POSTGRES_USER
    dropdb --if-exists --force "$0"
    createdb --owner "$0" --template template0 --encoding UTF8 --locale C.UTF-8 "$0"
    psql --quiet --dbname postgres --command "REVOKE CONNECT ON DATABASE \"$0\" FROM PUBLIC"
    exec pg_restore --dbname "$0" --no-owner --role "$0" --exit-on-error' "$database" < "$folder/$database.dump"
done

# replace SERVICE ROOT DIRECTORY FILE: the directory's content by the archive's
replace() {
  compose run --rm --no-deps -T "$1" sh -c 'find "$0/$1" -mindepth 1 -delete && tar -C "$0" --extract' "$2" "$3" < "$4"
}
echo "Model store"
replace "$scheduler" /var/lib/releases store "$folder/store.tar"
if [ "$scheduler" = scheduler ]; then
  echo "What is served"
  replace "$scheduler" /var/lib/releases serving "$folder/serving.tar"
  if [ -e "$folder/native.tar" ]; then
    replace "$scheduler" /var/lib/releases native "$folder/native.tar"
  else  # a back-up from before there was this service
    compose run --rm --no-deps -T "$scheduler" find /var/lib/releases/native -mindepth 1 -delete
  fi
fi
echo "MLflow's files"
replace mlflow /var/lib/mlflow . "$folder/mlflow.tar"
echo "Restored from $folder."
