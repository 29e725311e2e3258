#!/bin/sh
# Writes .env with new secrets; one that is there stays as it is. Needs nothing but a shell.
#   make_env.sh FILE [embedded|kubeflow]
set -eu
cd "$(dirname "$0")/../.."
file=$1
world=${2:-embedded}
if [ -e "$file" ]; then
  echo "$file is there already and stays as it is: its secrets belong to the data in the volumes."
  exit 0
fi
secret() { head -c "$1" /dev/urandom | base64 | tr -d '\n=' | tr '+/' '-_'; }
# A Fernet key is 32 bytes in URL-safe base64, with its padding.
fernet_key() { head -c 32 /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'; }
case $world in
  embedded) connections=deploy/compose/embedded.env ;;
  kubeflow) connections=.env.kubeflow ;;
  *) echo "WORLD=$world: expected embedded or kubeflow." >&2; exit 2 ;;
esac
umask 077
cat > "$file.part" <<END
# Settings of docker-compose.yaml, made by \`make env\`. Secret: keep a copy where you keep passwords; a back-up of the
# databases is of no use without AIRFLOW_FERNET_KEY. docs/compose.md explains every setting.
COMPOSE_PROFILES=$world
CONNECTIONS_FILE=$connections
IMAGE_TAG=0.1.0

# Ports on 127.0.0.1.
AIRFLOW_PORT=8080
SERVING_PORT=8085
NATIVE_PORT=8088
NATIVE_METRICS_PORT=8082
MLFLOW_PORT=5000

# Who may sign in: user:role, the roles are viewer, user, op and admin. Each of them needs a password in the JSON below.
AIRFLOW_USERS=admin:admin,viewer:viewer
AIRFLOW_PASSWORDS='{"admin": "$(secret 15)", "viewer": "$(secret 15)"}'

AIRFLOW_FERNET_KEY=$(fernet_key)
AIRFLOW_JWT_SECRET=$(secret 64)
AIRFLOW_SECRET_KEY=$(secret 32)
POSTGRES_PASSWORD=$(secret 24)
AIRFLOW_DB_PASSWORD=$(secret 24)
MLFLOW_DB_PASSWORD=$(secret 24)
END
mv "$file.part" "$file"
mkdir -p data
echo "Wrote $file. Sign in as admin with the password in it (AIRFLOW_PASSWORDS)."
