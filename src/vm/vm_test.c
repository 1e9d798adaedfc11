/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a VM by the public interface, with small guests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"
#include "pci/pci_bus.h"
#include "vm/machine.h"
#include "vm/small_guest.h"

MICRO_GUEST(off, PRINT("h") PRINT("i") POWER_OFF);

static void test_power_off(void **state)
{
	struct guest g;
	char text[3] = "";

	begin(&g, micro_off, micro_off_end, 1, 0);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_POWEROFF);
	assert_string_equal(g.exit.text, "");
	/* What was gathered is written before the end is told. */
	assert_int_equal(read(g.console[0], text, 2), 2);
	assert_string_equal(text, "hi");
	vmm_stop(g.vm);
	vmm_stop(g.vm);
	vmm_exit_info(g.vm, &g.exit);
	assert_int_equal(g.exit.end, VMM_END_POWEROFF);
	end(&g);
}

MICRO_GUEST(boot_timer, "mov $0xc0000000, %eax\n movb $122, (%rax)\n movb $123, 1(%rax)\n"
			"movb $123, (%rax)\n movb $123, (%rax)\n movb (%rax), %bl\n" POWER_OFF);

/* The guest says that it has booted; the log has that once. */
static void test_boot_timer(void **state)
{
	char text[512] = "", path[64];
	struct vmm_config c;
	struct guest g;
	unsigned us, ms, cpu_us, cpu_ms;
	int log[2];

	begin(&g, micro_boot_timer, micro_boot_timer_end, 1, 0);
	vmm_free(g.vm);
	c = small(&g, path, sizeof path);
	c.boot_timer = true;
	assert_int_equal(vmm_new(&c, &g.vm, NULL), 0);
	assert_int_equal(pipe(log), 0);
	log_set_level(LOG_LEVEL_INFO);
	log_set_sink(log[1], LOG_FORMAT_TEXT, "test");
	start(&g);
	finish(&g);
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "test");
	log_set_level(LOG_LEVEL_WARN);
	close(log[1]);
	assert_true(read(log[0], text, sizeof text - 1) > 0);
	assert_int_equal(
		sscanf(text, "test: Guest-boot-time = %u us %u ms, %u CPU us %u CPU ms", &us, &ms, &cpu_us, &cpu_ms),
		4);
	assert_true(us / 1000 == ms && cpu_us / 1000 == cpu_ms && us > 0 && cpu_us > 0);
	assert_string_equal(strchr(text, '\n'), "\n");
	assert_int_equal(g.exit.end, VMM_END_POWEROFF);
	close(log[0]);
	end(&g);
}

MICRO_GUEST(acpi_reset, "mov $0x600, %dx\n mov $1, %al\n out %al, %dx\n 9: hlt\n jmp 9b\n");
MICRO_GUEST(keyboard_reset, "mov $0xfe, %al\n out %al, $0x64\n 9: hlt\n jmp 9b\n");
/* As Linux does it: back to real mode, and to where a PC starts. The jump goes by 32-bit and 16-bit code segments. */
MICRO_GUEST(real_reset, "lea 1f(%rip), %rdi\n mov $0x2000, %rsi\n xchg %rsi, %rdi\n mov $256, %ecx\n rep movsb\n"
			"movq $0x00009b000000ffff, %rax\n mov %rax, 0x508\n" /* 16-bit code at selector 8 */
			"movl $0x2000, 0x6000\n movw $8, 0x6004\n"
			"ljmpl *0x6000\n"
			"1: .code16\n"
			"mov %cr0, %eax\n and $0x7ffffffe, %eax\n mov %eax, %cr0\n"
			"ljmpw $0xf000, $0xfff0\n"
			".code64\n");
MICRO_GUEST(triple_reset, PRINT("o") PRINT("h") "ud2\n");

static void test_resets(void **state)
{
	struct guest g;

	begin(&g, micro_acpi_reset, micro_acpi_reset_end, 1, 0);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_RESET);
	end(&g);
	begin(&g, micro_keyboard_reset, micro_keyboard_reset_end, 1, 0);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_RESET);
	end(&g);
	begin(&g, micro_real_reset, micro_real_reset_end, 1, 0);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_RESET);
	assert_string_equal(g.exit.text, "");
	end(&g);
	begin(&g, micro_triple_reset, micro_triple_reset_end, 1, 0);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_RESET);
	assert_non_null(strstr(g.exit.text, "vCPU 0: triple fault; rip "));
	assert_non_null(strstr(g.exit.text, "; console: oh"));
	end(&g);
}

MICRO_GUEST(panic, PRINT("b") PRINT("y") PRINT("e") "mov $0x505, %dx\n in %dx, %al\n out %al, %dx\n"
						    "mov $0xfe, %al\n out %al, $0x64\n 9: hlt\n jmp 9b\n");

static void test_panic(void **state)
{
	struct guest g;

	begin(&g, micro_panic, micro_panic_end, 1, 0);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_PANIC);
	assert_string_equal(g.exit.text, "console: bye");
	end(&g);
}

/* Writes a letter for each one that it counts; never ends. */
MICRO_GUEST(chatter, "mov $0x3f8, %dx\n mov $10, %al\n 1: out %al, %dx\n mov $10000, %ecx\n 2: loop 2b\n jmp 1b\n");

static void test_pause_and_stop(void **state)
{
	struct guest g;
	struct err e = { 0 };
	pid_t tids[4];

	begin(&g, micro_chatter, micro_chatter_end, 1, 0);
	assert_int_equal(vmm_pause(g.vm, &e), -EINVAL);
	assert_string_equal(e.text, "cannot pause the virtual machine: it has not been started");
	start(&g);
	assert_int_equal(vmm_start(g.vm, NULL), -EINVAL);
	assert_int_equal(heard(&g), '\n');
	assert_int_equal(vmm_vcpu_threads(g.vm, tids, 4), 1);
	assert_true(tids[0] > 0 && tids[0] != gettid());
	for (int i = 0; i < 50; i++) {
		assert_int_equal(vmm_pause(g.vm, &e), 0);
		assert_int_equal(vmm_pause(g.vm, &e), 0);
		assert_int_equal(vmm_state(g.vm), VMM_PAUSED);
		/* Nothing is written while it is paused: drain, and find nothing more. */
		fd_set_nonblock(g.console[0], true);
		for (char buf[4096]; read(g.console[0], buf, sizeof buf) > 0;)
			;
		assert_int_equal(poll(&(struct pollfd){ .fd = g.console[0], .events = POLLIN }, 1, i ? 0 : 50), 0);
		fd_set_nonblock(g.console[0], false);
		assert_int_equal(vmm_resume(g.vm, &e), 0);
		assert_int_equal(vmm_resume(g.vm, &e), 0);
		assert_int_equal(heard(&g), '\n');
	}
	vmm_stop(g.vm);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_STOPPED);
	assert_int_equal(vmm_resume(g.vm, &e), -EINVAL);
	end(&g);
}

/* The threads of a paused machine sleep. They once woke each other for ever: each told the others that it waits. */
static void test_paused_costs_nothing(void **state)
{
	struct timespec before, after;
	struct guest g;

	begin(&g, micro_chatter, micro_chatter_end, 4, 0);
	start(&g);
	assert_int_equal(heard(&g), '\n');
	assert_int_equal(vmm_pause(g.vm, NULL), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	poll(NULL, 0, 500);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 < 50);
	vmm_stop(g.vm);
	finish(&g);
	end(&g);
}

/* Waits for the ACPI event of the power button. */
MICRO_GUEST(button, PRINT("r") "mov $0xc0200000, %rbx\n"
			       "1: pause\n"
			       "mov (%rbx), %al\n"
			       "test $8, %al\n"
			       "jz 1b\n" POWER_OFF);
/* Waits for the first byte of the keyboard, and powers off if it is the Ctrl key. */
MICRO_GUEST(keys, PRINT("r") "1: pause\n"
			     "in $0x64, %al\n"
			     "test $1, %al\n"
			     "jz 1b\n"
			     "in $0x60, %al\n"
			     "cmp $0x1d, %al\n"
			     "jne 1b\n" POWER_OFF);

static void test_buttons(void **state)
{
	struct guest g;

	begin(&g, micro_button, micro_button_end, 1, 0);
	assert_int_equal(vmm_power_button(g.vm, NULL), -EINVAL);
	start(&g);
	assert_int_equal(heard(&g), 'r');
	assert_int_equal(vmm_power_button(g.vm, NULL), 0);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_POWEROFF);
	end(&g);
	begin(&g, micro_keys, micro_keys_end, 1, 0);
	start(&g);
	assert_int_equal(heard(&g), 'r');
	assert_int_equal(vmm_ctrl_alt_del(g.vm, NULL), 0);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_POWEROFF);
	end(&g);
}

/* Echoes one byte from the serial port and powers off. */
MICRO_GUEST(echo, "mov $0x3fd, %dx\n 1: pause\n in %dx, %al\n test $1, %al\n jz 1b\n mov $0x3f8, %dx\n in %dx, %al\n"
		  "out %al, %dx\n" POWER_OFF);

static void test_serial_input(void **state)
{
	char path[64];
	struct guest g = { 0 };
	struct vmm_config c;
	struct err e = { 0 };
	int in[2];

	if (!micro_guest_possible())
		skip();
	g.kernel = make_kernel(micro_echo, (size_t)(micro_echo_end - micro_echo));
	assert_int_equal(pipe(g.console), 0);
	assert_int_equal(pipe(in), 0);
	c = small(&g, path, sizeof path);
	c.serial_in = in[0];
	c.shared_memory = c.prealloc = c.track_dirty = true;
	if (vmm_new(&c, &g.vm, &e) < 0)
		fail_msg("%s", e.text);
	start(&g);
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_int_equal(heard(&g), 'x');
	finish(&g);
	end(&g);
	close(in[0]);
	close(in[1]);
}

/*
 * Starts each CPU that comes, the others at page 2 of memory: CPU 0 copies their code there, waits for as many as the
 * event block tells it of, and prints a letter for each.
 */
MICRO_GUEST(plug, "lea ap_code(%rip), %rsi\n mov $0x2000, %rdi\n mov $32, %ecx\n rep movsb\n"
		  "mov $0xfee00000, %rbp\n movl $0x1ff, 0xf0(%rbp)\n" PRINT(
			  "r") "mov $0xc0200000, %rbx\n"
			       "1: pause\n mov (%rbx), %al\n test $1, %al\n jz 1b\n" /* a CPU event */
			       "movl $1, 0x100(%rbx)\n"                              /* of CPU 1 */
			       "mov 0x104(%rbx), %al\n"
			       "test $2, %al\n jz 3f\n" /* inserted */
			       "movb $2, 0x104(%rbx)\n"
			       "movl $0x1000000, 0x310(%rbp)\n movl $0x4500, 0x300(%rbp)\n movl $0x4602, 0x300(%rbp)\n"
			       "2: pause\n cmpl $1, 0x3000\n jne 2b\n movl $0, 0x3000\n" PRINT(
				       "i") "jmp 1b\n"
					    "3: test $4, %al\n jz 1b\n" /* shall go */
					    "movb $4, 0x104(%rbx)\n movb $8, 0x104(%rbx)\n" PRINT(
						    "e") "jmp 1b\n"
							 "ap_code: .code16\n xor %ax, %ax\n mov %ax, %ds\n incl "
							 "0x3000\n 4: cli\n hlt\n jmp 4b\n .code64\n");

static void test_cpus_come_and_go(void **state)
{
	struct guest g;
	struct err e = { 0 };
	uint32_t n;

	begin(&g, micro_plug, micro_plug_end, 1, 2);
	assert_int_equal(vmm_set_vcpus(g.vm, 2, &n, NULL), -EINVAL);
	start(&g);
	assert_int_equal(heard(&g), 'r');
	assert_int_equal(vmm_set_vcpus(g.vm, 3, &n, &e), -EINVAL);
	assert_int_equal(vmm_set_vcpus(g.vm, 0, &n, &e), -EINVAL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(vmm_set_vcpus(g.vm, 2, &n, &e), 0);
		assert_int_equal(n, 2);
		assert_int_equal(heard(&g), 'i');
		assert_int_equal(vmm_vcpu_threads(g.vm, NULL, 0), 2);
		assert_int_equal(vmm_set_vcpus(g.vm, 1, &n, &e), 0);
		assert_int_equal(heard(&g), 'e');
		assert_int_equal(vmm_set_vcpus(g.vm, 1, &n, &e), 0);
		assert_int_equal(n, 1);
	}
	end(&g);
}

static void refuse(struct vmm_config c, int code, const char *text)
{
	struct err e = { 0 };
	struct vmm *vm = NULL;

	assert_int_equal(vmm_new(&c, &vm, &e), code);
	if (!strstr(e.text, text))
		fail_msg("%s", e.text);
	assert_null(vm);
}

static void test_bad_configurations(void **state)
{
	const struct vmm_config good = { .vcpus = 1, .memory = 2 << 20, .serial_in = -1, .serial_out = -1 };
	struct vmm_config c = good;

	c.vcpus = 0;
	refuse(c, -EINVAL, "0 vCPUs");
	c.vcpus = 65;
	refuse(c, -EINVAL, "65 vCPUs");
	c.vcpus = 4;
	c.max_vcpus = 3;
	refuse(c, -EINVAL, "4 vCPUs of at most 3");
	c = good;
	c.threads_per_core = 2;
	refuse(c, -EINVAL, "1 vCPUs in cores of 2 threads");
	c = good;
	c.memory = 0;
	refuse(c, -EINVAL, "0 bytes of memory");
	c.memory = (2 << 20) + 4096;
	refuse(c, -EINVAL, "bytes of memory");
	c = good;
	c.kick_signal = SIGTERM;
	refuse(c, -EINVAL, "is not a real-time signal");
	c.kick_signal = SIGRTMAX;
	signal(SIGRTMAX, SIG_IGN);
	refuse(c, -EBUSY, "is ignored in this process");
	signal(SIGRTMAX, SIG_DFL);
}

static void test_a_missing_kernel_is_named(void **state)
{
	struct vmm_config c = { .vcpus = 1, .memory = 4 << 20, .serial_in = -1, .serial_out = -1 };
	struct err e = { 0 };
	struct vmm *vm;

	if (!micro_guest_possible())
		skip();
	assert_int_equal(vmm_new(&c, &vm, &e), 0);
	assert_int_equal(vmm_start(vm, &e), -EINVAL);
	assert_string_equal(e.text, "a virtual machine needs a kernel to start");
	vmm_free(vm);
	c.kernel = "/nowhere/vmlinux";
	assert_int_equal(vmm_new(&c, &vm, &e), 0);
	assert_int_equal(vmm_start(vm, &e), -ENOENT);
	assert_string_equal(e.text, "cannot open the kernel /nowhere/vmlinux: No such file or directory");
	vmm_free(vm);
	vmm_free(NULL);
}

/* Is the thread under a filter? */
static bool confined(pid_t tid)
{
	char path[64], *text, *at;
	size_t len;
	bool yes;

	snprintf(path, sizeof path, "/proc/self/task/%d/status", tid);
	assert_int_equal(file_read(path, 65536, &text, &len), 0);
	at = strstr(text, "Seccomp:");
	assert_non_null(at);
	yes = strstr(at, "2") && strstr(at, "2") < strchr(at, '\n');
	free(text);
	return yes;
}

static void test_threads_are_confined(void **state)
{
	char path[64];
	struct guest g = { 0 };
	struct vmm_config c;
	pid_t tid;

	if (!micro_guest_possible())
		skip();
	g.kernel = make_kernel(micro_chatter, (size_t)(micro_chatter_end - micro_chatter));
	assert_int_equal(pipe(g.console), 0);
	for (int on = 0; on < 2; on++) {
		c = small(&g, path, sizeof path);
		c.seccomp = on;
		assert_int_equal(vmm_new(&c, &g.vm, NULL), 0);
		start(&g);
		assert_int_equal(heard(&g), '\n');
		assert_int_equal(vmm_vcpu_threads(g.vm, &tid, 1), 1);
		assert_int_equal(confined(tid), on && machine_can_confine());
		assert_false(confined(gettid()));
		vmm_free(g.vm);
	}
	g.vm = NULL;
	end(&g);
}

static int sized_file(off_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

/* Each kind of device that needs nobody else. */
static void add_all(struct vmm *vm, const char *dir)
{
	int disk = sized_file(1 << 20), pmem = sized_file((1 << 20) + 4096), in[2];
	char path[64], uds[64];
	struct err e = { 0 };

	snprintf(path, sizeof path, "/proc/self/fd/%d", pmem);
	snprintf(uds, sizeof uds, "%s/vsock", dir);
	assert_int_equal(pipe(in), 0);
	ok(vmm_add_block(vm, "disk", &(struct vmm_block){ .fd = disk, .own_thread = true }, &e), &e);
	ok(vmm_add_pmem(vm, "pmem", &(struct vmm_pmem){ .path = path }, &e), &e);
	ok(vmm_add_pmem(vm, "pmem2", &(struct vmm_pmem){ .path = path, .readonly = true }, &e), &e);
	ok(vmm_add_rng(vm, "rng", NULL, &e), &e);
	ok(vmm_add_balloon(vm, "balloon", &(struct vmm_balloon){ .stats_interval_s = 1 }, &e), &e);
	ok(vmm_add_console(vm, "console", &(struct vmm_console){ .in = in[0], .out = -1 }, &e), &e);
	ok(vmm_add_memory(vm, "memory", &(struct vmm_memory){ .max = 256 << 20, .requested = 2 << 20 }, &e), &e);
	ok(vmm_add_vsock(vm, "vsock", &(struct vmm_vsock){ .cid = 3, .uds_path = uds }, &e), &e);
	assert_int_equal(vmm_add_rng(vm, "rng", NULL, &e), -EEXIST);
	assert_int_equal(vmm_add_rng(vm, "a/b", NULL, &e), -EINVAL);
	/* On failure a descriptor stays ours. */
	assert_int_equal(
		vmm_add_block(vm, "bad", &(struct vmm_block){ .fd = pmem, .serial = "much too long a serial" }, &e),
		-EINVAL);
	assert_int_equal(close(pmem), 0);
	close(in[1]);
}

static void change_all(struct vmm *vm)
{
	const struct vmm_rate rate = { .ops = { 10, 0, 100 } };
	struct vmm_balloon_stats stats;
	struct vmm_memory_status memory;
	struct err e = { 0 };

	ok(vmm_update_block(vm, "disk", NULL, &rate, &e), &e);
	assert_int_equal(vmm_update_block(vm, "disk", "/nowhere", NULL, &e), -ENOENT);
	assert_int_equal(vmm_update_block(vm, "pmem", NULL, &rate, &e), -ENOENT);
	assert_string_equal(e.text, "there is no block device \"pmem\"");
	ok(vmm_update_pmem(vm, "pmem", &rate, &e), &e);
	ok(vmm_set_balloon(vm, 1 << 20, &e), &e);
	ok(vmm_balloon_stats(vm, &stats, &e), &e);
	assert_int_equal(stats.target, 1 << 20);
	ok(vmm_set_memory(vm, 128 << 20, &e), &e);
	ok(vmm_memory_status(vm, &memory, &e), &e);
	assert_int_equal(memory.requested, 128 << 20);
	assert_int_equal(memory.plugged, 0);
	assert_int_equal(vmm_set_memory(vm, 512ULL << 20, &e), -EINVAL);
	ok(vmm_remove(vm, "disk", 0, &e), &e);
	assert_int_equal(vmm_remove(vm, "disk", 0, &e), -ENOENT);
}

/* Sums by name. */
struct counts {
	uint64_t outs, kicks, vcpus;
};

static void add_count(void *userdata, const struct vmm_count *c)
{
	struct counts *counts = userdata;

	counts->vcpus += !strcmp(c->kind, "vcpu") && !strcmp(c->name, "failures");
	if (!strcmp(c->name, "exit_io_out"))
		counts->outs += c->value;
	else if (!strcmp(c->kind, "pmem") && !strcmp(c->id, "pmem2") && !strcmp(c->name, "queue_event_count"))
		counts->kicks = c->value + 1;
}

static void devices_of_shape(enum vmm_shape shape)
{
	char dir[] = "/tmp/caisson-vm-XXXXXX", path[64];
	struct guest g = { 0 };
	struct counts counts = { 0 };
	struct vmm_config c;
	struct err e = { 0 };
	char slot[VMM_PCI_PATH_SIZE];

	if (!micro_guest_possible())
		skip();
	assert_non_null(mkdtemp(dir));
	g.kernel = make_kernel(micro_off, (size_t)(micro_off_end - micro_off));
	assert_int_equal(pipe(g.console), 0);
	c = small(&g, path, sizeof path);
	c.shape = shape;
	ok(vmm_new(&c, &g.vm, &e), &e);
	add_all(g.vm, dir);
	assert_int_equal(vmm_pci_path(g.vm, "rng", slot), shape == VMM_SHAPE_CLOUD ? 0 : -ENOENT);
	change_all(g.vm);
	start(&g);
	finish(&g);
	assert_int_equal(g.exit.end, VMM_END_POWEROFF);
	/* Two letters and the power; of no device has the guest made use. */
	vmm_stats(g.vm, add_count, &counts);
	assert_int_equal(counts.outs, 3);
	assert_int_equal(counts.kicks, 1);
	assert_int_equal(counts.vcpus, 1);
	assert_int_equal(vmm_add_rng(g.vm, "late", NULL, &e), -ENOTSUP);
	assert_int_equal(vmm_remove(g.vm, "memory", 0, &e), -ENOTSUP);
	end(&g);
	assert_int_equal(dir_remove(dir), 0);
}

static void test_devices(void **state)
{
	devices_of_shape(VMM_SHAPE_MICRO);
	devices_of_shape(VMM_SHAPE_CLOUD);
}

static void test_as_many_devices_as_there_are_places(void **state)
{
	struct vmm_config c = { .vcpus = 1, .memory = 4 << 20, .serial_in = -1, .serial_out = -1 };
	struct err e = { 0 };
	struct vmm *vm;
	char id[16];
	int r = 0, n;

	if (!micro_guest_possible())
		skip();
	for (int shape = 0; shape < 2; shape++) {
		c.shape = shape ? VMM_SHAPE_CLOUD : VMM_SHAPE_MICRO;
		ok(vmm_new(&c, &vm, &e), &e);
		for (n = 0, r = 0; r == 0; n++) {
			snprintf(id, sizeof id, "rng%d", n);
			r = vmm_add_rng(vm, id, NULL, &e);
		}
		assert_int_equal(r, -ENOSPC);
		assert_int_equal(n - 1, shape ? 31 : 17);
		/* A place that became free is used again. */
		ok(vmm_remove(vm, "rng5", 0, &e), &e);
		ok(vmm_add_rng(vm, "again", NULL, &e), &e);
		vmm_free(vm);
	}
}

static void add_disk(struct vmm *vm, const char *id, unsigned *ret_slot)
{
	char path[VMM_PCI_PATH_SIZE];
	struct err e = { 0 };

	ok(vmm_add_block(vm, id, &(struct vmm_block){ .fd = sized_file(1 << 20), .own_thread = true }, &e), &e);
	assert_int_equal(vmm_pci_path(vm, id, path), 0);
	assert_int_equal(sscanf(path, "%x", ret_slot), 1);
}

/* The guest lets go when nobody waits for it any more, and another device has got the slot when somebody asks again. */
static void test_a_removal_that_is_repeated(void **state)
{
	struct guest g = { 0 };
	struct vmm_config c;
	struct err e = { 0 };
	unsigned slot, again;
	char path[64];

	if (!micro_guest_possible())
		skip();
	g.kernel = make_kernel(micro_chatter, (size_t)(micro_chatter_end - micro_chatter));
	assert_int_equal(pipe(g.console), 0);
	c = small(&g, path, sizeof path);
	c.shape = VMM_SHAPE_CLOUD;
	ok(vmm_new(&c, &g.vm, &e), &e);
	start(&g);
	add_disk(g.vm, "first", &slot);
	assert_int_equal(vmm_remove(g.vm, "first", 1, &e), -ETIMEDOUT);
	pci_bus_ejected(board_pci(g.vm->board), slot);
	add_disk(g.vm, "second", &again);
	assert_int_equal(again, slot);
	ok(vmm_remove(g.vm, "first", 1, &e), &e);
	/* Nobody asked for this one: it stays, even if the guest lets go of it. */
	pci_bus_ejected(board_pci(g.vm->board), slot);
	assert_non_null(pci_bus_function(board_pci(g.vm->board), slot));
	end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_configurations),
		cmocka_unit_test(test_a_missing_kernel_is_named),
		cmocka_unit_test(test_power_off),
		cmocka_unit_test(test_boot_timer),
		cmocka_unit_test(test_resets),
		cmocka_unit_test(test_panic),
		cmocka_unit_test(test_pause_and_stop),
		cmocka_unit_test(test_paused_costs_nothing),
		cmocka_unit_test(test_buttons),
		cmocka_unit_test(test_serial_input),
		cmocka_unit_test(test_cpus_come_and_go),
		cmocka_unit_test(test_threads_are_confined),
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_as_many_devices_as_there_are_places),
		cmocka_unit_test(test_a_removal_that_is_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
