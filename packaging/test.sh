#!/bin/bash
# npm test: sets the machine up, then type check, lint and every test, real containers included.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
bash packaging/setup.sh --tests
export PATH="$PWD/node_modules/.bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export BERTH_SOURCES=1
echo 'type check'
tsc --noEmit
echo 'lint'
biome check --error-on-warnings .
echo 'tests'
# Two files at a time: most wait for clocks and kernels. None may hold up the others: one that hangs fails in the end.
exec packaging/node --test --test-concurrency=2 --test-timeout=1200000 --test-reporter=spec \
  'test/unit/**/*.test.ts' 'test/conformance/**/*.test.ts' 'test/integration/**/*.test.ts' 'test/e2e/**/*.test.ts'
