#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson run -t`: a terminal, driven by expect.

load helper

# expect_script COMMANDS: run caisson under a pseudo-terminal of 33 × 99. $output is what was seen.
expect_script() {
	cat >"$BATS_TEST_TMPDIR/script.exp" <<-END
		set timeout 40
		set stty_init "rows 33 columns 99"
		proc want {pattern} { expect { -re \$pattern {} timeout { puts "TIMEOUT: \$pattern"; exit 90 } eof { puts "EOF: \$pattern"; exit 91 } } }
		proc status {} { expect { eof {} timeout { puts "TIMEOUT: end"; exit 90 } }; lassign [wait] pid id os value; exit \$value }
		$1
	END
	run timeout -k 1 120 expect -f "$BATS_TEST_TMPDIR/script.exp"
}

@test "a terminal: its size, a change of it, ^C, ^D, exit status" {
	expect_script "
		spawn $CAISSON run -i -t --rootfs $ROOT -- /bin/sh
		want {# \$}
		send \"tty; stty size; echo TERM=\\\$TERM\\r\"
		want {/dev/(pts/0|console)}
		want {33 99}
		want {TERM=[a-z]+}
		want {# \$}
		stty rows 44 columns 111 < \$spawn_out(slave,name)
		sleep 1
		send \"stty size\\r\"
		want {44 111}
		want {# \$}
		send \"sleep 100\\r\"
		sleep 1
		send \"\\003\"
		want {# \$}
		send \"echo after-\\\$?\\r\"
		want {after-130}
		want {# \$}
		send \"sh -c 'exit 5'\\r\"
		want {# \$}
		send \"\\004\"
		status
	"
	[ "$status" = 5 ] || show "should end with 5"
}

@test "the progress line is gone when the command's output begins; the terminal is as it was" {
	expect_script "
		spawn bash -c {stty -a | md5sum; $CAISSON run -t --rootfs $ROOT -- /bin/echo hello; stty -a | md5sum}
		want {([0-9a-f]+)  -}
		set before \$expect_out(1,string)
		want {hello\\r\\n}
		want {([0-9a-f]+)  -}
		if {\$before ne \$expect_out(1,string)} { puts {the terminal was left changed}; exit 92 }
		status
	"
	[ "$status" = 0 ] || show "failed"
}

@test "-t without a terminal is refused with a reason" {
	run --separate-stderr bash -c "timeout -k 1 60 '$CAISSON' run -i -t --rootfs '$ROOT' -- /bin/true </dev/null"
	expect_status 125
	expect_stderr '[Tt]erminal|tty|TTY'
}
