#!/usr/bin/env bash
# A script as teams write it without devrun. The benchmarks compare devrun with it.
#
#   baseline-dev.sh [worktree of examples/leadboard, default: here]
#
# Needs git, pnpm, uv and psql, and a running Postgres named by PGHOST, PGPORT and PGUSER.
# It prints `BASELINE <step> <epoch ms>` on stderr at the end of each step, and `spawned <epoch ms>` on stdout
# when both servers have been started. Ctrl-C stops both.
#
# It has the usual faults of such scripts: it does not detect a busy port, treats an existing database as
# migrated, and a kill -9 of the script leaves both servers running.
set -euo pipefail

export PGHOST="${PGHOST:-127.0.0.1}" PGPORT="${PGPORT:-5432}" PGUSER="${PGUSER:-postgres}"

stamp() { echo "BASELINE $1 $(date +%s%3N)" >&2; }
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d postgres -c "$1"; }

stamp start
cd "${1:-.}"
root=$(cd "$(git rev-parse --show-toplevel)" && pwd -P)
cd "$root"
branch=$(git rev-parse --abbrev-ref HEAD)

# The ports come from the path of the worktree.
hash=$(echo "$root" | sha256sum | cut -c1-4)
slot=$((16#$hash % 100))
frontend_port=$((3100 + slot))
backend_port=$((8100 + slot))
export NEXT_PUBLIC_API_URL="http://localhost:$backend_port"
stamp ports

# Installs dependencies that are missing.
if [ ! -d node_modules ]; then
  pnpm install --frozen-lockfile >&2
fi
stamp node
if [ ! -d backend/.venv ]; then
  (cd backend && uv venv --quiet && uv pip sync --quiet requirements.txt) >&2
fi
stamp python

# Creates a database for the branch, as a copy of the main one if that exists, and migrates it once.
database="dev-$branch"
# libpq reads host, port, user and password from the PG* variables.
export DATABASE_URL="postgresql:///$database"
if [ -z "$(sql "SELECT 1 FROM pg_database WHERE datname = '$database'")" ]; then
  template=""
  if [ -n "$(sql "SELECT 1 FROM pg_database WHERE datname = 'dev-main'")" ]; then
    template='TEMPLATE "dev-main"'
  fi
  sql "CREATE DATABASE \"$database\" $template"
  stamp database
  (cd backend && .venv/bin/alembic upgrade head) >&2
  stamp migrate
else
  stamp database
fi

export PYTHONUNBUFFERED=1 NEXT_TELEMETRY_DISABLED=1
(cd backend && exec .venv/bin/uvicorn app.main:app --reload --reload-dir app --port "$backend_port") &
backend=$!
(cd frontend && exec node_modules/.bin/next dev --port "$frontend_port") &
frontend=$!
stop() {
  trap - INT TERM EXIT
  kill "$backend" "$frontend" 2>/dev/null || true
  wait || true
}
trap stop INT TERM EXIT

stamp spawn
echo "spawned $(date +%s%3N)"
echo "http://demodev.localhost:$frontend_port/admin/leads" >&2
wait || true
