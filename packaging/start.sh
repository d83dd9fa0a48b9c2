#!/bin/bash
# npm start: sets the machine up, builds, and brings up a one-node cluster with a sample workload.
set -euo pipefail
root="$(dirname "$(readlink -f "$0")")/.."
cd "$root"
[ "$(id -u)" = 0 ] || { echo 'berth: npm start needs root: run it with sudo' >&2; exit 1; }
bash packaging/setup.sh
# Build when a source is newer than the bundle.
if [ ! -f dist/berth.mjs ] || [ -n "$(find agent proxy control-plane-lite kube proto cli packaging package.json -newer dist/berth.mjs -type f -print -quit)" ]; then
  echo 'building'
  packaging/node packaging/build.ts
fi
exec packaging/berth up --demo --detach "$@"
