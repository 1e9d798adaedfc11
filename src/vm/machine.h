/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM object and what its parts know of each other. Private to the layer; the outside sees caisson/vmm.h.
 *
 * Threads: one runs the loop in which all devices live, one runs each vCPU, and the host program's own threads call the
 * API. Device models are touched inside the loop only (loop_enter). The lock guards what says who shall run and how the
 * VM ended; it is taken inside the loop, never the other way round.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/list.h"
#include "caisson/vmm.h"
#include "guestmem/guestmem.h"
#include "hw/boot_timer.h"
#include "hw/bus.h"
#include "hw/platform.h"
#include "kvm/kvm.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "loop/loop.h"

struct board;
struct ioapic_lines;
struct pci_bus;
struct state;
struct vmm;

#define RAM_MAX 4 /* two pieces from the start, and regions of virtio-mem */

struct ram {
	gpa_t gpa;
	uint64_t size, offset; /* offset in the memfd */
	uint8_t *host;
	int fd;               /* shared memory: the memfd; else -1 */
	uint64_t block;       /* virtio-mem's: it comes and goes by blocks of this size; 0: it is always there */
	uint64_t *host_dirty; /* with a dirty log: pages that devices wrote; one bit each, atomically */
};

struct memory {
	struct ram ram[RAM_MAX];
	unsigned n;
	int fd;   /* shared memory: the memfd of what is there from the start; else -1 */
	int base; /* restored, private memory: the file that it is a private mapping of; else -1 */
	int uffd; /* restored, filled by a page server: the userfaultfd; else -1 */
	const struct memory_source *source; /* while it is restored */
	/* Where pages may be mapped from the kernel's file, so that what this process does not have is not zero. */
	gpa_t mapped;
	uint64_t mapped_size;
};

/* What memory of a restored VM holds at first. */
struct memory_source {
	const char *path;        /* of the memory file, for messages */
	int fd;                  /* the memory file, as large as all regions are; -1: the page server has it */
	const char *page_server; /* its Unix socket */
};

#define MEMORY_LARGE_PAGE (2ULL << 20)

enum vcpu_want { VCPU_PAUSE, VCPU_RUN, VCPU_STOP };

struct vcpu_thread {
	struct vmm *vm;
	unsigned index;
	struct kvm_vcpu *kvm; /* NULL: not made yet */
	bool made;            /* and it has its features: it may run */
	pthread_t thread;
	bool started; /* thread is there */
	bool enabled; /* the guest may use it; guarded by the loop */
	/* Guarded by the lock. */
	enum vcpu_want want;
	bool idle; /* it is not in the guest and will not enter it */
	pid_t tid;
};

struct vmm {
	struct platform platform; /* first */
	struct vmm_config config; /* with strings of its own */
	struct kvm *kvm;
	struct kvm_vm *kvm_vm;
	struct kvm_topology topology;
	struct memory memory;
	struct guestmem *mem;
	struct bus *pio, *mmio;
	struct board *board;
	struct ioapic_lines *ioapic;            /* made and freed by the board; NULL: KVM has all of the controller */
	struct boot_timer boot_timer;           /* counts from vmm_new() on */
	struct list devices;                    /* vm_device.node */
	const struct device_place *place_again; /* while a device is restored */
	bool restored;                          /* and not resumed yet: the devices' peers are not told */
	char *note;                             /* of the snapshot; NULL: none */

	struct loop *loop;
	pthread_t loop_thread;
	bool loop_running;

	struct vcpu_thread *vcpus; /* max_vcpus */
	int exit_fd;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Guarded by the lock. */
	enum vmm_state state;
	struct vmm_exit exit;
	bool panicked;
};

/* ---- vmm.c ---- */

/* vmm_new() with memory that is not empty; source NULL: it is. */
int machine_new(const struct vmm_config *c, const struct memory_source *source, struct vmm **ret, struct err *e);
/* The threads run and wait, for vmm_resume(). The state of everything is loaded. */
int machine_start_paused(struct vmm *vm, struct err *e);

/* The boot timer at this address, if one is wanted. 0 or -errno. */
int machine_add_boot_timer(struct vmm *vm, uint64_t base);

/* ---- memory.c ---- */

/* Fill in the map of RAM. -E2BIG: this host's processor has no room for so much. */
int memory_place(struct vmm *vm, struct err *e);
/* source NULL: zeroes. Else it is borrowed until memory_loaded(); its descriptor may go on to be used. */
int memory_new(struct vmm *vm, const struct memory_source *source, struct err *e);
/* All regions are there, and nobody has touched them. */
int memory_loaded(struct vmm *vm, struct err *e);
void memory_free(struct vmm *vm);
uint64_t memory_page(void);
/* Of a map with one bit for each page of the region. */
size_t memory_words(const struct ram *ram);
/* Where region i begins in a memory file; i = n: the size of the file. */
uint64_t memory_file_offset(const struct memory *m, unsigned i);
/*
 * Room for a virtio-mem device, all unplugged. -ENOSPC: too many. On failure there may be something for
 * memory_remove_room().
 */
int memory_add_room(struct vmm *vm, gpa_t gpa, uint64_t size, uint64_t block, struct err *e);
/* Before the VM runs: the one at gpa is no more. Does nothing if there is none. */
void memory_remove_room(struct vmm *vm, gpa_t gpa);
/* Which pages of region i the guest or a device wrote since the last call, one bit each; n_words as in kvm/vm.h. */
int memory_take_dirty(struct vmm *vm, unsigned i, uint64_t *bitmap, size_t n_words);
/* Take it back: the next call tells of these pages too. */
void memory_put_dirty(struct vmm *vm, unsigned i, const uint64_t *bitmap);

/* ---- memory_blocks.c ---- */

/* Which pages of such a region the guest wrote: see memory_take_dirty(). */
int memory_take_dirty_blocks(struct vmm *vm, const struct ram *ram, uint64_t *bitmap);
/* The size of blocks for a region of this size: a power of two, 2 MiB and more. */
uint64_t memory_choose_block(const struct vmm *vm, uint64_t size);
/* Can a region come and go by blocks of this size here? */
int memory_check_block(const struct vmm *vm, uint64_t size, uint64_t block, struct err *e);
/* Whole blocks of such memory come, or go, and the host has back what was in them. 0 or -errno. */
int memory_plug(struct vmm *vm, gpa_t gpa, uint64_t len);
int memory_unplug(struct vmm *vm, gpa_t gpa, uint64_t len);

/* ---- memory_file.c ---- */

/* Add to the bitmap which pages of region i may hold something else than zeroes. */
int memory_find_used(struct vmm *vm, unsigned i, uint64_t *bitmap, struct err *e);
/* Write these pages to their places in the file; zeroes: also those that are zero. 0 or -errno. */
int memory_write(struct vmm *vm, unsigned i, const uint64_t *bitmap, bool zeroes, int fd);
/* Is it a file of guest memory of this size? */
int memory_file_check(int fd, const char *path, uint64_t size, struct err *e);
/* Fill the region, which is zero, from its place in the file. 0 or -errno. */
int memory_read(const struct ram *ram, int fd, uint64_t offset);

/* ---- page_server.c ---- */

/* Memory is mapped and nobody has touched it: from now on the server fills it. */
int page_server_connect(struct vmm *vm, const char *socket, struct err *e);

/* ---- platform.c ---- */

extern const struct platform_ops machine_platform_ops;

/* ---- vcpu_thread.c ---- */

/* Make vCPU i in its power-on state. */
int vcpu_new(struct vmm *vm, unsigned i, struct err *e);
/* Start its thread, which waits. */
int vcpu_start(struct vmm *vm, unsigned i, struct err *e);
/* What all vCPUs shall do. wait: until none is in the guest any more (not for VCPU_RUN, not inside the loop). */
void vcpus_want(struct vmm *vm, enum vcpu_want want, bool wait);
/* Join the threads, free the vCPUs. */
void vcpus_free(struct vmm *vm);
/* Is the kick signal usable? Gives it an empty handler when it has none. */
int vcpu_kick_signal_check(int signo, struct err *e);

/* ---- exit_report.c ---- */

/*
 * The VM ends: the first reason counts. No vCPU enters the guest from now on. why may be ""; console: add the last
 * lines of the serial port. From any thread but without the lock.
 */
void machine_end(struct vmm *vm, enum vmm_end end, bool console, const char *why);
/* The guest told of a panic: its end, which is to come, was one. */
void machine_panicked(struct vmm *vm);

/* ---- seccomp.c ---- */

enum machine_role { MACHINE_EVENT_LOOP, MACHINE_VCPU, MACHINE_CONTROL };

/* False: built with sanitizers, whose runtime makes calls of its own; the VM's threads are not filtered then. */
bool machine_can_confine(void);
/* Before the first of them starts. */
void machine_prepare_filter(const struct vmm *vm);
/* First thing that a thread of the VM does: filter its system calls, if asked. When it fails, the VM ends. */
void machine_confine_thread(struct vmm *vm, enum machine_role role);

/* ---- devices.c ---- */

struct acpi_mmio_device;

/* Free all devices. */
void devices_free(struct vmm *vm);
/* The windows of the virtio-mmio devices, for ACPI; at most max. Returns how many. */
size_t devices_mmio(const struct vmm *vm, struct acpi_mmio_device *ret, size_t max);
/* The guest let go of what is in this slot, which was freed. Inside the loop. */
void devices_gone(struct vmm *vm, unsigned slot);

/* ---- device_state.c ---- */

/* Between the two no device touches guest memory or interrupts. Not inside the loop. */
void devices_pause(struct vmm *vm);
void devices_resume(struct vmm *vm);
/* What the devices are and how they are. Save: they are paused; inside the loop. */
int devices_save(struct vmm *vm, struct state *s, struct err *e);
/* Add the devices that were saved, in the places that they had. The overrides may name no other. */
int devices_restore(struct vmm *vm, const struct state *s, const struct vmm_override *overrides, size_t n,
		    struct err *e);
/* Then: what the guest has told them. They are paused from then on. Inside the loop. */
int devices_load(struct vmm *vm, const struct state *s, struct err *e);

/* ---- kernel.c ---- */

struct boot_config;
struct boot_entry;
struct boot_ram;
typedef int boot_loader(struct guestmem *mem, const struct boot_config *c, struct boot_entry *ret, struct err *e);

/* Load the configured kernel and initrd. place: what the architecture alone knows; the rest of it is filled in. */
int machine_load_kernel(struct vmm *vm, boot_loader *load, const struct boot_config *place, struct boot_entry *ret,
			struct err *e);
/* The RAM as boot/ wants it, at most RAM_MAX pieces. Returns how many. */
size_t machine_boot_ram(const struct vmm *vm, struct boot_ram *ret);

/* ---- the architecture: board_x86.c, board_arm64.c ---- */

/* Can vCPUs come and go while the guest runs? */
extern const bool board_cpu_hotplug;
/* Fills the RAM map: regions without host memory. */
void board_ram(uint64_t size, struct memory *ret);
/* The devices that are part of the machine. */
int board_new(struct vmm *vm, struct err *e);
/* NULL does nothing. */
void board_free(struct board *b);
/* Put kernel and tables into memory and set vCPU 0 to the first instruction. */
int board_boot(struct vmm *vm, struct err *e);
int board_power_button(struct vmm *vm, struct err *e);
int board_ctrl_alt_del(struct vmm *vm, struct err *e);
/* The vCPU's slot was filled, or shall be emptied. Inside the loop. */
void board_cpu(struct vmm *vm, unsigned cpu, bool insert);
/* The end of the serial port's output. Inside the loop. */
size_t board_console_tail(const struct board *b, char *buf, size_t size);
void board_console_flush(struct board *b);
/* The place of the n-th virtio-mmio device; false: there is none. */
bool board_mmio_place(unsigned n, uint64_t *ret_base, uint32_t *ret_gsi);
/* The PCI bus; NULL in a machine without. */
struct pci_bus *board_pci(struct board *b);
/* From now on functions come and go under the eyes of the guest. */
void board_start_hotplug(struct board *b);
/* Where memory of devices may be: [base, end). */
void board_region(const struct vmm *vm, gpa_t *ret_base, gpa_t *ret_end);
void board_save(const struct board *b, struct state *s);
int board_load(struct board *b, const struct state *s, struct err *e);
/* The VM's generation id (hw/vmgenid.h); VMGENID_LEN bytes. 0 or -errno. */
int board_generation(struct vmm *vm, uint8_t *ret);
/* Another one, of which the guest is told when it runs. Inside the loop. 0 or -errno. */
int board_renew_generation(struct vmm *vm);
/* CPUs that the guest let go of. Called inside the loop. */
void machine_cpu_ejected(struct vmm *vm, unsigned cpu);
