#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson run -t` and `exec -t`: a terminal, driven by expect.

load helper

# expect_script COMMANDS: run them in expect, with pseudo-terminals of 33 × 99. $output is what was seen.
expect_script() {
	cat >"$BATS_TEST_TMPDIR/script.exp" <<-END
		set timeout 120
		set stty_init "rows 33 columns 99"
		proc want {pattern} {
			expect {
				-re \$pattern { return \$expect_out(0,string) }
				timeout { puts "TIMEOUT: \$pattern"; exit 90 }
				eof { puts "EOF: \$pattern"; exit 91 }
			}
		}
		proc status {} {
			expect {
				eof {}
				timeout { puts "TIMEOUT: end"; exit 90 }
			}
			lassign [wait] pid id os value
			exit \$value
		}
		$1
	END
	run timeout -k 1 400 expect -f "$BATS_TEST_TMPDIR/script.exp"
}

# What a shell on the terminal must find. The prompt of busybox's shell ends in "# ". What ^C shall end says by itself that
# it has begun: it is in the foreground then, while the shell would say so before it has started it.
dialogue='
	want {# }
	send "tty; stty size; echo TERM=\$TERM\r"
	want {/dev/(pts/[0-9]+|console)}
	want {33 99}
	want {TERM=[a-z]+}
	want {# }
	stty rows 44 columns 111 < $spawn_out(slave,name)
	send "while \[ \"\$(stty size)\" != \"44 111\" \]; do :; done; echo resi\"\"zed\r"
	want {resized}
	want {# }
	send "sh -c \"echo begun-\$((1 + 1)); exec sleep 600\"\r"
	want {begun-2}
	send "\003"
	want {# }
	send "echo after-\$?\r"
	want {after-130}
	want {# }
	send "(exit 5)\r"
	want {# }
	send "\004"
	status
'

# bats test_tags=lab:process
@test "run -it: the size of the terminal, a change of it, ^C, ^D, exit status" {
	expect_script "
		spawn $CAISSON run -i -t --rootfs $ROOT -- /bin/sh
		$dialogue
	"
	[ "$status" = 5 ] || show "should end with 5"
}

@test "exec -it: the same in a running container" {
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 600'
	expect_script "
		spawn $CAISSON exec -i -t $NAME /bin/sh
		$dialogue
	"
	caisson kill "$NAME" KILL
	vm_wait
	[ "$status" = 5 ] || show "should end with 5"
}

@test "the progress line is gone when the command's output begins; the terminal is as it was" {
	expect_script "
		spawn bash -c {stty -a | md5sum; $CAISSON run -i -t --rootfs $ROOT -- /bin/echo hello; stty -a | md5sum}
		set before [want {[0-9a-f]{32}}]
		want {hello\\r\\n}
		set after [want {[0-9a-f]{32}}]
		if {\$before ne \$after} {
			puts {the terminal was left changed}
			exit 92
		}
		status
	"
	[ "$status" = 0 ] || show "failed"
	# erased: the last thing before the output is "erase to the end of the line"
	[[ $output == *$'\033[K'hello* ]] || show "the progress line is still there"
}

@test "-t without a terminal on our side gives the command one" {
	run --separate-stderr bash -c "timeout -k 1 $LIMIT '$CAISSON' run -t --rootfs '$ROOT' -- /bin/sh -c '[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty' </dev/null"
	expect_status 0
	expect_match '^/dev/(pts/[0-9]+|console)'
}
