# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What everything here begins with, in tests/clients/isolated: names of folders, an environment, the files of the clients
# that are named as arguments, and `prepare`. $HERE is this folder, $TOP the source tree.

# shellcheck disable=SC2034 # DEBIAN is used in images.bash
DEBIAN=$TOP/.cache/e2e/debian
export BIN=/run/clients/bin LOGS=/run/clients/logs WORK=/run/clients/work
mkdir -p "$BIN" "$LOGS" "$WORK"
export PATH=$BIN:${CLIENTS_PATH:+$CLIENTS_PATH:}/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
unset XDG_RUNTIME_DIR
for file in harness leaks images caisson "$@"; do
	# shellcheck source=/dev/null
	. "$HERE/$file.bash"
done
# some clients write files where they are
cd "$WORK" || exit

# prepare RUNTIMES: images, programs, the clients' daemons; on the host, a page to fetch.
prepare() {
	mkdir /run/clients/www
	echo 'hello from the host' >/run/clients/www/greeting
	busybox httpd -p 192.0.2.2:8000 -h /run/clients/www
	storage_conf
	make_root_archives
	case " $1 " in *" caisson "*) caisson_programs || return ;; esac
	client_start
}
