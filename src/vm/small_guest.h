/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the public interface: small guests on the host's own KVM, each an ELF kernel of a few instructions that
 * the test writes with MICRO_GUEST. Without /dev/kvm the tests that run one are skipped.
 */
#pragma once

#include <elf.h>
#include <poll.h>

#include "base/fd.h"
#include "caisson/vmm.h"
#include "kvm/micro_guest.h"

#define PATIENCE_MS 60000
#define KERNEL_AT   0x100000

/* Ports and instructions that the guests share. */
#define POWER_OFF "mov $0x601, %dx\n mov $0x34, %al\n out %al, %dx\n 9: hlt\n jmp 9b\n"
#define PRINT(c)  "mov $0x3f8, %dx\n mov $'" c "', %al\n out %al, %dx\n"

struct guest {
	struct vmm *vm;
	int kernel, console[2];
	struct vmm_exit exit;
};

static inline int make_kernel(const uint8_t *code, size_t len)
{
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr load;
	} elf = { .head = { .e_type = ET_EXEC,
			    .e_machine = EM_X86_64,
			    .e_version = EV_CURRENT,
			    .e_entry = KERNEL_AT,
			    .e_phoff = sizeof elf.head,
			    .e_ehsize = sizeof elf.head,
			    .e_phentsize = sizeof elf.load,
			    .e_phnum = 1 },
		  .load = { .p_type = PT_LOAD,
			    .p_offset = sizeof elf,
			    .p_vaddr = KERNEL_AT,
			    .p_paddr = KERNEL_AT,
			    .p_filesz = len,
			    .p_memsz = len } };
	int fd = memfd_create("kernel", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	memcpy(elf.head.e_ident, ELFMAG "\2\1\1", 7);
	assert_int_equal(write(fd, &elf, sizeof elf), sizeof elf);
	assert_int_equal(write(fd, code, len), (ssize_t)len);
	return fd;
}

static inline struct vmm_config small(struct guest *g, char *path, size_t size)
{
	snprintf(path, size, "/proc/self/fd/%d", g->kernel);
	return (struct vmm_config){ .name = "test",
				    .vcpus = 1,
				    .memory = 4 << 20,
				    .kernel = path,
				    .serial_in = -1,
				    .serial_out = g->console[1],
				    .seccomp = true };
}

static inline void begin(struct guest *g, const uint8_t *code, const uint8_t *end, uint32_t vcpus, uint32_t max_vcpus)
{
	char path[64];
	struct vmm_config c;
	struct err e = { 0 };

	if (!micro_guest_possible())
		skip();
	memset(g, 0, sizeof *g);
	g->kernel = make_kernel(code, (size_t)(end - code));
	assert_int_equal(pipe(g->console), 0);
	c = small(g, path, sizeof path);
	c.vcpus = vcpus;
	c.max_vcpus = max_vcpus;
	if (vmm_new(&c, &g->vm, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(vmm_state(g->vm), VMM_NEW);
}

static inline void start(struct guest *g)
{
	struct err e = { 0 };

	if (vmm_start(g->vm, &e) < 0)
		fail_msg("%s", e.text);
}

/* Wait for the end and take the report. */
static inline void finish(struct guest *g)
{
	struct pollfd fd = { .fd = vmm_exit_fd(g->vm), .events = POLLIN };

	assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
	assert_int_equal(vmm_state(g->vm), VMM_ENDED);
	vmm_exit_info(g->vm, &g->exit);
}

static inline void end(struct guest *g)
{
	vmm_free(g->vm);
	close(g->kernel);
	close(g->console[0]);
	close(g->console[1]);
}

/* Wait for one byte from the console. */
static inline char heard(struct guest *g)
{
	struct pollfd fd = { .fd = g->console[0], .events = POLLIN };
	char c = 0;

	assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
	assert_int_equal(read(g->console[0], &c, 1), 1);
	return c;
}
