#!/bin/sh
# Copies both databases, the model store, what is served and MLflow's files into a folder, while everything runs.
#   backup.sh ENV_FILE [FOLDER]
set -eu
umask 077  # training data and models are not everybody's
cd "$(dirname "$0")/../.."
compose() { docker compose --env-file "$env_file" "$@"; }
env_file=$1
folder=${2:-backups/$(date -u +%Y%m%dT%H%M%SZ)}
if [ -e "$folder" ]; then
  echo "$folder is there already: give another BACKUP=." >&2
  exit 1
fi
part=$folder.part
rm -rf "$part"
mkdir -p "$part"
scheduler=$(compose config --services | grep '^scheduler')

# Databases first: what they name is in the store then. Nothing in the store is changed once it has been named.
for database in airflow mlflow; do
  echo "Database $database"
  compose exec -T postgres sh -c 'PGPASSWORD=$POSTGRES_PASSWORD exec pg_dump --username "$POSTGRES_USER" --format custom "$0"' \
    "$database" > "$part/$database.dump"
done
echo "Model store"
compose run --rm --no-deps -T "$scheduler" tar -C /var/lib/releases --create store > "$part/store.tar"
if [ "$scheduler" = scheduler ]; then
  echo "What is served"
  compose run --rm --no-deps -T "$scheduler" tar -C /var/lib/releases --create \
    --exclude=serving/run --exclude=serving/logs --exclude=serving/unpacked serving > "$part/serving.tar"
  compose run --rm --no-deps -T "$scheduler" tar -C /var/lib/releases --create \
    --exclude=native/run --exclude=native/logs native > "$part/native.tar"
fi
echo "MLflow's files"
compose run --rm --no-deps -T mlflow tar -C /var/lib/mlflow --create . > "$part/mlflow.tar"
mv "$part" "$folder"
du -sh "$folder"
echo "The secrets are not in it: keep a copy of $env_file elsewhere."
