# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the rows of the table are written with. A row is a function that prints, on stdout, what a person at the client
# would see of what it is about: its transcript. Run with two runtimes, both must succeed and print the same. What may
# differ (process ids, times, sizes) is looked at without being printed. What goes to stderr is shown when the row fails.

# Seconds for one call of a client; it only catches a hang. $SLOWER: where everything is slower than usual, by how much.
SLOWER=${SLOWER:-1}
LIMIT=$((60 * SLOWER))

# limited CMD…: clients pass SIGTERM on to a container that may ignore it, so SIGKILL comes after.
limited() {
	timeout -k 1 "$LIMIT" "$@"
}

# Runs CMD: $output (stdout) and $status.
run() {
	printf '$ %s\n' "$*" >&2
	status=0
	output=$("$@") || status=$?
	[ "$status" = 0 ] || printf '(exit status %s)\n' "$status" >&2
	printf '%s\n' "$output" | sed 's/^/> /' | head -n 30 >&2
}

# ok CMD…: it succeeds; what it prints belongs to the transcript.
ok() {
	fails 0 "$@"
}

# fails STATUS CMD…: it ends with this status; the transcript has both.
fails() {
	local wanted=$1
	shift
	run "$@"
	printf '%s\n' "$output"
	[ "$status" = 0 ] || printf '(exit status %s)\n' "$status"
	[ "$status" = "$wanted" ] || wrong "exit status $status should be $wanted: $*"
}

# ask CMD…: it succeeds; what it prints is not the same every time.
ask() {
	run "$@"
	[ "$status" = 0 ] || wrong "exit status $status: $*"
}

# refused CMD…: it fails, whatever status the client makes of it, with a message.
refused() {
	run "$@"
	case $status in
	0) wrong "should have failed: $*" ;;
	124 | 137) wrong "does not end: $*" ;;
	esac
}

wrong() {
	printf 'WRONG: %s\n' "$*" >&2
	return 1
}

# skipped REASON: this row cannot be here.
skipped() {
	printf '%s\n' "$1" >&2
	exit 77
}

expect_output() {
	[ "$output" = "$1" ] || wrong "output should be exactly: $1; it is: $output"
}
expect_line() {
	grep -qxF -- "$1" <<<"$output" || wrong "output has no line: $1"
}
expect_match() {
	grep -qE -- "$1" <<<"$output" || wrong "output does not match: $1; it is: $output"
}
refute_match() {
	! grep -qE -- "$1" <<<"$output" || wrong "output should not match: $1; it is: $output"
}

# until_true SECONDS CMD…: CMD succeeds within that time; what it prints is nobody's business.
until_true() {
	local end=$((SECONDS + $1 * SLOWER))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || wrong "did not come true in time: $*" || return
		sleep 0.1
	done
}

# on_terminal CMD…: with a terminal of 33 lines and 77 columns as its streams; prints what appears there. Its standard input
# says what is typed when (see the program).
on_terminal() {
	"$HERE/on-terminal" 33 77 "$LIMIT" "$@"
}

# What a terminal should be, in its own words. Clients tell the size soon, but not before the command begins, and then
# begin to look out for changes.
ON_A_TERMINAL="
	size_is() { until [ \"\$(stty size 2>/dev/null)\" = \"\$1\" ]; do sleep 0.1; done; echo \"the size is \$1\"; }
	test -t 0 && test -t 1 && test -t 2 && tty
	size_is '33 77'
	sleep 0.5
	echo 'ready?'
	read word
	size_is '20 50'
	echo \"got \$word\""
# How it is used.
TYPED='@ready?
#20 50
word'

# Takes 200 MiB, one by one: a VM that is smaller refuses to promise it at once.
export GROW='awk "BEGIN { s = \"x\"; while (length(s) < 1048576) s = s s; for (i = 0; i < 200; i++) a[i] = s i }"'

# Bytes that no terminal and no line buffering lets through unharmed.
random_mebibytes() {
	head -c "$1M" /dev/urandom
}

not_running() {
	! [ -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}
