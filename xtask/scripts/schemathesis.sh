#!/bin/bash
# Runs schemathesis against the API of a recorder of its own: an archive with the calls of pcaps/demo, a token with every right, an account
# that may everything. Its figures stand in the last lines. Run by `make schemathesis`.
# Needs Python with venv (3.12 or newer: the tool trips over the 3.11 of Debian 12; PYTHON names another one), curl, openssl; schemathesis comes from
# PyPI. SCHEMATHESIS_EXAMPLES cases at most for each operation and phase.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
bin=${EARWITNESS:-$target/release/earwitness}
[ -x "$bin" ] || { echo "$bin is missing: make build" >&2; exit 1; }
examples=${SCHEMATHESIS_EXAMPLES:-50}

bin=$(realpath "$bin")
tools=$(realpath -m "$target/schemathesis")
python=${PYTHON:-}
for candidate in python3.13 python3.12 python3; do
    [ -n "$python" ] || ! "$candidate" -c '' 2>/dev/null || python=$candidate
done
[ -x "$tools/bin/schemathesis" ] || { "$python" -m venv "$tools" && "$tools/bin/pip" -q install 'schemathesis==4.32.5'; }
work=$(mktemp -d)
recorder=
trap '[ -z "$recorder" ] || kill "$recorder" 2>/dev/null || true; rm -rf "$work"' EXIT

archive=$work/archive
"$bin" record -r pcaps/demo/*.pcap -a "$archive" >"$work/record.log" 2>&1
id=$("$bin" archive list -a "$archive" --limit 1 --json | grep -o '"id": *"[^"]*"' | head -n 1 | cut -d '"' -f 4)
# The refusal of one that there is not names those that there are.
permissions=$({ "$bin" role profile All --permission ? -a "$archive" 2>&1 || true; } | sed -n 's/.*there are //p' | tr -d ',')
flags=()
for permission in $permissions; do flags+=(--permission "$permission"); done
"$bin" role profile All "${flags[@]}" -a "$archive" >/dev/null
"$bin" role set All --profile All --scope organization -a "$archive" >/dev/null
openssl rand -hex 24 >"$work/password"
"$bin" user add tester --role All --password-file "$work/password" -a "$archive" >/dev/null

port=$((20000 + RANDOM % 20000))
openssl rand -hex 32 >"$work/token"
chmod 600 "$work/token" "$work/password"
cat >"$work/earwitness.toml" <<TOML
[capture]
hep = ["127.0.0.1:$((port + 1))"]
[web]
listen = "127.0.0.1:$port"
[metrics]
listen = "127.0.0.1:$((port + 2))"
[[api.token]]
name = "tester"
file = "$work/token"
role = "supervisor"
rights = ["status", "requests", "events", "recordings", "calls", "accounts", "audit", "rules"]
account = "tester"
TOML
"$bin" run -c "$work/earwitness.toml" -a "$archive" >"$work/run.log" 2>&1 &
recorder=$!
for _ in $(seq 100); do
    curl -sf "http://127.0.0.1:$((port + 2))/healthz" >/dev/null && break
    kill -0 "$recorder" || { cat "$work/run.log" >&2; exit 1; }
    sleep 0.2
done

# Once with the number of a recording that is there, once with whatever comes.
failed=0
for there in yes no; do
    cp xtask/scripts/schemathesis.toml "$work/schemathesis.toml"
    if [ "$there" = yes ]; then
        printf '\n[parameters]\n"path.id" = "%s"\n' "$id" >>"$work/schemathesis.toml"
    fi
    echo "== recordings that are there: $there"
    # In its folder, for it keeps things where it runs.
    (cd "$work" && exec "$tools/bin/schemathesis" --config-file "$work/schemathesis.toml" run "http://127.0.0.1:$port/api/v1/openapi.json" \
        -H "Authorization: Bearer $(cat "$work/token")" --max-examples "$examples" --continue-on-failure \
        --workers 2 "$@") || failed=1
done
kill -0 "$recorder" || { echo 'the recorder has ended' >&2; tail "$work/run.log" >&2; exit 1; }
! grep -qi panic "$work/run.log" || { echo 'something panicked:' >&2; grep -i panic "$work/run.log" >&2; exit 1; }
exit "$failed"
