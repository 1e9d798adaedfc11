/* SPDX-License-Identifier: Apache-2.0 */
/* The arm64 machine: not yet. kvm_open() says so before anything here is called. */
#include <errno.h>

#include "vm/machine.h"

static int not_yet(struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "the built-in monitor does not support arm64 yet");
}

void board_ram(uint64_t size, struct memory *ret)
{
	ret->n = 0;
}

int board_new(struct vmm *vm, struct err *e)
{
	return not_yet(e);
}

void board_free(struct board *b)
{
}

int board_boot(struct vmm *vm, struct err *e)
{
	return not_yet(e);
}

int board_power_button(struct vmm *vm, struct err *e)
{
	return not_yet(e);
}

int board_ctrl_alt_del(struct vmm *vm, struct err *e)
{
	return not_yet(e);
}

void board_cpu(struct vmm *vm, unsigned cpu, bool insert)
{
}

size_t board_console_tail(const struct board *b, char *buf, size_t size)
{
	buf[0] = '\0';
	return 0;
}

void board_console_flush(struct board *b)
{
}

bool board_mmio_place(unsigned n, uint64_t *ret_base, uint32_t *ret_gsi)
{
	return false;
}

void board_save(const struct board *b, struct state *s)
{
}

int board_load(struct board *b, const struct state *s, struct err *e)
{
	return not_yet(e);
}

int board_generation(struct vmm *vm, uint8_t *ret)
{
	return -ENOTSUP;
}

int board_renew_generation(struct vmm *vm)
{
	return -ENOTSUP;
}

struct pci_bus *board_pci(struct board *b)
{
	return NULL;
}

void board_start_hotplug(struct board *b)
{
}

void board_region(const struct vmm *vm, gpa_t *ret_base, gpa_t *ret_end)
{
	*ret_base = *ret_end = 0;
}
