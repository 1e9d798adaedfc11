#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VMs that boot a guest image, as Kata's are made (tests/qemu/make-image), in place of an initramfs.
#
# As a disk on every hypervisor, with the tuned kernel, which has the drivers built in. As an NVDIMM on QEMU: Debian's
# kernel has the drivers of one as modules and cannot mount such a root by itself. A QEMU of the tests' own adds an
# initrd that loads them and mounts what the command line asks for, with its options, as a kernel with the drivers built
# in does: guest/build-kernel's, or Kata's.

load helper

setup_file() {
	local dir=$BATS_FILE_TMPDIR
	[ -z "$UNUSABLE" ] || return 0
	# the guest's root: what else is the initramfs
	mkdir "$dir/root"
	(cd "$dir/root" && cpio --quiet -id --no-absolute-filenames <"$GUEST/initramfs.img")
	mkdir -p "$dir/root/sbin" "$dir/root/bin"
	cp /bin/busybox "$dir/root/bin/"
	ln -s busybox "$dir/root/bin/sh"
	ln -s ../init "$dir/root/sbin/init"
	# what the agent makes for itself where it can write
	ln -s ../init "$dir/root/sbin/modprobe"
	"$TOP/tests/qemu/make-image" "$dir/root" "$dir/dax.img"
	"$TOP/tests/qemu/make-image" --plain "$dir/root" "$dir/plain.img"
	cp --sparse=always "$dir/dax.img" "$dir/cut.img"
	truncate -s -4096 "$dir/cut.img"
	[ "$DRIVER" != qemu ] || make_qemu "$dir"
}

make_qemu() {
	local dir=$1
	mkdir "$dir/stage"
	printf 'nfit\nnd_pmem\n' >"$dir/modules"
	"$TOP/guest/make-initramfs" -k "$GUEST/debian" -b "$dir/modules" "$dir/initrd"
	mkdir -p "$dir/stage/bin" "$dir/stage/dev" "$dir/stage/proc" "$dir/stage/root"
	cp /bin/busybox "$dir/stage/bin/"
	cat >"$dir/stage/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs d /dev
mount -t proc p /proc
for m in $(cat /etc/caisson/modules); do insmod "$m"; done
# spaces in quotes would need more than this
for word in $(cat /proc/cmdline); do
	case $word in
	root=*) root=${word#root=} ;;
	rootfstype=*) type=${word#*=} ;;
	rootflags=*) flags=,${word#*=} ;;
	esac
done
n=0
until head -c 1 "$root" >/dev/null 2>&1 || [ $n -ge 100 ]; do usleep 100000; n=$((n + 1)); done
mount -t "$type" -o "ro$flags" "$root" /root || { dmesg | tail; poweroff -f; }
grep "$root" /proc/mounts
umount /proc
exec switch_root /root /sbin/init
INIT
	chmod 755 "$dir/stage/init"
	(cd "$dir/stage" && find . | cpio --quiet -o -H newc --owner=0:0) >>"$dir/initrd"
	printf '#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 "$@" -initrd %s/initrd\n' "$dir" >"$dir/qemu-system-x86_64"
	chmod 755 "$dir/qemu-system-x86_64"
}

# in_nvdimm FILE: a container in a VM that boots it
in_nvdimm() {
	[ "$(uname -m)" = x86_64 ] || skip "NVDIMMs are for q35"
	needs_hypervisor qemu
	cat >"$BATS_TEST_TMPDIR/c.toml" <<-END
		[hypervisor.qemu]
		path = "$BATS_FILE_TMPDIR/qemu-system-x86_64"
		image = "$BATS_FILE_TMPDIR/$1"
		disable_image_nvdimm = false
		END
	shift
	run --separate-stderr caisson --log-level debug run --rootfs "$ROOT" --config "$BATS_TEST_TMPDIR/c.toml" "$@"
}

@test "a container in a VM whose image is an NVDIMM, mapped without a copy" {
	in_nvdimm dax.img -- /bin/sh -c 'ls /sys/class/block | grep pmem; hostname >/hostname && echo written'
	expect_status 0
	expect_output "$(printf 'pmem0\npmem0p1\nwritten')"
	expect_stderr '/dev/pmem0p1 /root ext4 .*dax=always'
}

@test "an image without the header for that" {
	in_nvdimm plain.img -- /bin/sh -c 'ls /sys/class/block | grep pmem'
	expect_status 0
	expect_output "$(printf 'pmem0\npmem0p1')"
	expect_stderr '/dev/pmem0p1 /root ext4 '
	! grep -q 'dax' <<<"$stderr" || show "mounted with DAX"
}

@test "exec --debug is a shell of the guest" {
	in_nvdimm dax.img --dry-run -- /bin/true
	expect_status 0
	printf '[agent.kata]\ndebug_console_enabled = true\n' >>"$BATS_TEST_TMPDIR/c.toml"
	vm_bg --config "$BATS_TEST_TMPDIR/c.toml" -- /bin/sh -c 'echo ready; exec sleep 600'
	run --separate-stderr bash -c "echo 'cat /proc/1/comm; echo \$((6 * 7))' | timeout -k 1 $LIMIT '$CAISSON' exec --debug '$NAME'"
	expect_status 0
	expect_match '^init'
	expect_match '^42'
	caisson kill "$NAME" KILL
	vm_wait
}

@test "an image that was cut off" {
	in_nvdimm cut.img -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr 'cut.img does not fit its size'
}

# Its first partition is the guest's root; the container has one of its own.
@test "a guest image as a disk" {
	needs_capability image_boot
	[ -e "$GUEST/bzImage-tuned" ] || [ -e "$GUEST/Image-tuned" ] || skip "needs make guest-kernel"
	printf '[hypervisor.%s]\nimage = "%s"\nkernel_params = "caisson.tested"\n[agent.kata]\ndial_timeout = 400\n' "$DRIVER" \
		"$BATS_FILE_TMPDIR/dax.img" >"$BATS_TEST_TMPDIR/c.toml"
	vm --config "$BATS_TEST_TMPDIR/c.toml" -- /bin/sh -c 'grep -o "root=[^ ]*" /proc/cmdline; grep -o caisson.tested /proc/cmdline; echo x >/x && echo written'
	expect_status 0
	expect_output $'root=/dev/vda1\ncaisson.tested\nwritten'
}
