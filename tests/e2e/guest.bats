#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The guest image: the same inputs give the same bytes, and it is made again only when something changed.

load helper

@test "the initramfs is reproducible, and its list of modules is complete and in order" {
	local agent cache
	agent=$("$TOP/scripts/built-path" "$TOP/${BUILD:-build}" caisson-agent)
	cache=${CAISSON_CACHE:-$TOP/.cache/guest}/$(uname -m)
	for n in 1 2; do
		# different times, folders and umask in the inputs must not show
		mkdir "$BATS_TEST_TMPDIR/$n"
		cp "$agent" "$BATS_TEST_TMPDIR/$n/agent"
		(umask 0${n}7 && TMPDIR=$BATS_TEST_TMPDIR/$n "$TOP/guest/make-initramfs" -a "$BATS_TEST_TMPDIR/$n/agent" \
			-k "$cache/debian" -b "$TOP/guest/modules.boot" -d "$TOP/guest/modules.demand" "$BATS_TEST_TMPDIR/$n/initrd")
	done
	cmp "$BATS_TEST_TMPDIR/1/initrd" "$BATS_TEST_TMPDIR/2/initrd"
	mkdir "$BATS_TEST_TMPDIR/x"
	(cd "$BATS_TEST_TMPDIR/x" && cpio --quiet -id --no-absolute-filenames <"$BATS_TEST_TMPDIR/1/initrd")
	[ -x "$BATS_TEST_TMPDIR/x/init" ]
	while read -r file; do
		[ -f "$BATS_TEST_TMPDIR/x$file" ]
	done <"$BATS_TEST_TMPDIR/x/etc/caisson/modules"
	# a module comes after what it depends on
	awk 'NR == FNR { at["/lib/modules/" v "/" $0] = 0; pos[$0] = NR; next }
		{ sub(":", "", $1); me = "/lib/modules/" v "/" $1
		  if (me in pos) for (i = 2; i <= NF; i++) if (pos["/lib/modules/" v "/" $i] > pos[me] || !(("/lib/modules/" v "/" $i) in pos)) { print $1, $i; bad = 1 } }
		END { exit bad }' v="$(cat "$cache/version")" "$BATS_TEST_TMPDIR/x/etc/caisson/modules" \
		"$BATS_TEST_TMPDIR/x/lib/modules/$(cat "$cache/version")/modules.dep"
}

@test "a module that the kernel lacks is an error" {
	printf 'virtio_mmio\nno_such_module\n' >"$BATS_TEST_TMPDIR/modules"
	for list in -b -d; do
		run "$TOP/guest/make-initramfs" -k "${CAISSON_CACHE:-$TOP/.cache/guest}/$(uname -m)/debian" \
			$list "$BATS_TEST_TMPDIR/modules" "$BATS_TEST_TMPDIR/initrd"
		[ "$status" -ne 0 ]
		[[ $output == *"no module no_such_module"* ]]
		[ ! -e "$BATS_TEST_TMPDIR/initrd" ]
	done
}

@test "an image that was removed is made again" {
	local agent copy
	agent=$("$TOP/scripts/built-path" "$TOP/${BUILD:-build}" caisson-agent)
	copy=$BATS_TEST_TMPDIR/$(uname -m)
	cp -a "${CAISSON_CACHE:-$TOP/.cache/guest}/$(uname -m)" "$copy"
	for n in 1 2; do
		CAISSON_CACHE=$BATS_TEST_TMPDIR "$TOP/guest/build" "$(uname -m)" "$agent"
		[ -s "$copy/initramfs.img" ]
		rm "$copy/initramfs.img"
	done
}

@test "a dynamically linked agent is refused" {
	run "$TOP/guest/make-initramfs" -a /bin/ls "$BATS_TEST_TMPDIR/initrd"
	[ "$status" -ne 0 ]
	[[ $output == *"dynamically linked"* ]]
	[ ! -e "$BATS_TEST_TMPDIR/initrd" ]
}
