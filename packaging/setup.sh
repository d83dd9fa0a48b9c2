#!/bin/bash
# Installs what berth needs and is not there yet: OS packages, npm packages, the pinned Node runtime.
# Safe to run again: it does nothing when all is in place. With --tests, also what only the tests need.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

say() { printf '%s\n' "$*"; }
fail() { printf 'berth: %s\n' "$*" >&2; exit 1; }

# Debian's system folders are not on every PATH.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing=()
need() { # need PROGRAM PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need containerd containerd
need runc runc
need iptables iptables
need nft nftables
need ipset ipset
need ipvsadm ipvsadm
need conntrack conntrack
need ip iproute2
need nsenter util-linux
need modprobe kmod
need sysctl procps
need tar tar
need catatonit catatonit
[ -x /bin/busybox ] && /bin/busybox --list 2>/dev/null | grep -qx httpd || missing+=(busybox-static)
[ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || missing+=(containernetworking-plugins)
command -v kubectl >/dev/null 2>&1 || missing+=(kubernetes-client)

if [ "${1:-}" = --tests ]; then
  need etcd etcd-server
  need prometheus prometheus
  need script bsdutils
  need git git
  # Machines of their own for tests of the package and of systemd.
  need linux.uml user-mode-linux
  need debootstrap debootstrap
  need dpkg-deb dpkg
fi

if [ "${#missing[@]}" -gt 0 ]; then
  [ "$(id -u)" = 0 ] || fail "these packages are missing: ${missing[*]}; run as root to install them"
  command -v apt-get >/dev/null 2>&1 || fail "these packages are missing and this is not Debian or Ubuntu: ${missing[*]}"
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Installing must not start services: berth runs its own, and the machine's are the user's business.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
  fi
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

case "$(uname -m)" in
  x86_64) arch=x64 ;;
  aarch64) arch=arm64 ;;
  *) fail "no pinned Node runtime for $(uname -m): x86_64 and aarch64 are supported" ;;
esac
stamp=node_modules/.berth-setup
if [ ! -x "node_modules/node-linux-$arch/bin/node" ] || ! cmp -s package-lock.json "$stamp"; then
  say "installing npm packages and the pinned Node runtime"
  # Not npm ci: it refuses a lock file without the binaries of platforms that the registry does not offer.
  npm install --no-save --no-audit --no-fund --loglevel=error
  [ -x "node_modules/node-linux-$arch/bin/node" ] || fail "npm did not install node-linux-$arch: is optional=false set in the npm configuration?"
  cp package-lock.json "$stamp"
fi
