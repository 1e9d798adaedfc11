/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each kind of device that can be added: from its configuration in caisson/vmm.h to its model.
 *
 * The interface takes descriptors over on success only, while a model closes its own when it is freed: models get
 * duplicates, and the originals are closed once nothing can fail any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "block/block.h"
#include "net/backend.h"
#include "net/net.h"
#include "vhostuser/frontend.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "virtio/mem.h"
#include "virtio/pmem.h"
#include "virtio/rng.h"
#include "vm/devices.h"
#include "vm/rates.h"
#include "vsock/vsock.h"

#define LARGE_PAGE MEMORY_LARGE_PAGE

static int duplicate(int fd, int *ret, struct err *e)
{
	*ret = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 && *ret < 0 ? err_sys(e, errno, "cannot take over descriptor %d", fd) : 0;
}

/* ---- block ---- */

int vmm_add_block(struct vmm *vm, const char *id, const struct vmm_block *c, struct err *e)
{
	struct block_config b = { .path = c->path,
				  .fd = -1,
				  .readonly = c->readonly,
				  .flush = c->flush,
				  .discard = c->discard,
				  .direct = c->direct,
				  .io_uring = c->io_uring,
				  .queues = c->queues,
				  .queue_size = c->queue_size,
				  .serial = c->serial,
				  .rate = rate_of(&c->rate) };
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_BLOCK, c, c->own_thread, &d, e);

	if (r < 0)
		return r;
	r = c->path ? 0 : duplicate(c->fd, &b.fd, e);
	if (r == 0) {
		loop_enter(d->loop);
		r = block_new(d->loop, &b, &dev, e);
		loop_leave(d->loop);
		if (r < 0)
			fd_close(&b.fd);
	}
	r = device_finish(d, dev, r, e);
	if (r == 0 && !c->path)
		close(c->fd);
	return r;
}

/* ---- net ---- */

/* The backends of one card; *ret: allocated, n of them. */
static int open_backends(const struct vmm_net *c, struct net_backend ***ret, size_t *ret_n, struct err *e)
{
	size_t n = c->n_tap_fds ? c->n_tap_fds : c->tap && c->queue_pairs ? c->queue_pairs : 1;
	_cleanup_free_ struct net_backend **backends = calloc(n, sizeof *backends);
	_cleanup_free_ int *fds = calloc(n, sizeof *fds);
	int r = 0;

	if (!backends || !fds)
		return err_sys(e, ENOMEM, "cannot make a network card");
	if (!!c->tap + !!c->n_tap_fds + !!c->socket != 1)
		return err_set(e, ERR_CONFIG, EINVAL, "a network card is behind a tap device, descriptors or a socket");
	if (c->socket) {
		r = net_passt_connect(c->socket, backends, e);
	} else if (c->tap) {
		r = net_tap_open(c->tap, n, backends, e);
	} else {
		size_t i = 0;

		while (r == 0 && i < n) {
			r = duplicate(c->tap_fds[i], &fds[i], e);
			i++;
		}
		if (r == 0)
			r = net_tap_from_fds(fds, n, backends, e);
		while (r < 0 && i--)
			fd_close(&fds[i]);
	}
	if (r < 0)
		return r;
	*ret = take_ptr(backends);
	*ret_n = n;
	return 0;
}

static int make_net(struct vm_device *d, const struct vmm_net *c, struct virtio_device **ret, struct err *e)
{
	_cleanup_free_ struct net_backend **backends = NULL;
	struct net_config n = { .name = d->id, .mtu = c->mtu, .rx = rate_of(&c->rx), .tx = rate_of(&c->tx) };
	int r;

	if (c->mac && net_parse_mac(c->mac, n.mac) < 0)
		return err_set(e, ERR_CONFIG, EINVAL, "\"%s\" is no address of a network card", c->mac);
	n.has_mac = c->mac;
	r = open_backends(c, &backends, &n.n_pairs, e);
	if (r < 0)
		return r;
	n.backends = backends;
	r = net_new(d->loop, &n, ret, e);
	for (size_t i = 0; r < 0 && i < n.n_pairs; i++)
		net_backend_free(backends[i]);
	return r;
}

int vmm_add_net(struct vmm *vm, const char *id, const struct vmm_net *c, struct err *e)
{
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_NET, c, false, &d, e);

	if (r < 0)
		return r;
	loop_enter(d->loop);
	r = make_net(d, c, &dev, e);
	loop_leave(d->loop);
	r = device_finish(d, dev, r, e);
	for (size_t i = 0; r == 0 && i < c->n_tap_fds; i++)
		close(c->tap_fds[i]);
	return r;
}

/* ---- what needs little ---- */

int vmm_add_vsock(struct vmm *vm, const char *id, const struct vmm_vsock *c, struct err *e)
{
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_VSOCK, c, false, &d, e);

	if (r < 0)
		return r;
	loop_enter(d->loop);
	r = vsock_device_new(d->loop, c->uds_path, c->cid, &dev, e);
	loop_leave(d->loop);
	return device_finish(d, dev, r, e);
}

int vmm_add_rng(struct vmm *vm, const char *id, const struct vmm_rate *c, struct err *e)
{
	struct rate_config rate = rate_of(c);
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_RNG, c, false, &d, e);

	if (r < 0)
		return r;
	loop_enter(d->loop);
	r = virtio_rng_new(d->loop, &rate, &dev, e);
	loop_leave(d->loop);
	return device_finish(d, dev, r, e);
}

int vmm_add_balloon(struct vmm *vm, const char *id, const struct vmm_balloon *c, struct err *e)
{
	struct virtio_balloon_config b = { .bytes = c->bytes,
					   .deflate_on_oom = c->deflate_on_oom,
					   .free_page_reporting = c->free_page_reporting,
					   .stats_interval_s = c->stats_interval_s };
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_BALLOON, c, false, &d, e);

	if (r < 0)
		return r;
	loop_enter(d->loop);
	r = virtio_balloon_new(d->loop, &b, &dev, e);
	loop_leave(d->loop);
	return device_finish(d, dev, r, e);
}

int vmm_add_console(struct vmm *vm, const char *id, const struct vmm_console *c, struct err *e)
{
	struct virtio_console_config k = { .in = -1, .out = -1 };
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_CONSOLE, c, false, &d, e);

	if (r < 0)
		return r;
	r = duplicate(c->in, &k.in, e);
	if (r == 0 && c->out == c->in)
		k.out = k.in;
	else if (r == 0)
		r = duplicate(c->out, &k.out, e);
	if (r == 0) {
		loop_enter(d->loop);
		r = virtio_console_new(d->loop, &k, &dev, e);
		loop_leave(d->loop);
	}
	if (r < 0) {
		if (k.out != k.in)
			fd_close(&k.out);
		fd_close(&k.in);
	}
	r = device_finish(d, dev, r, e);
	if (r == 0 && c->in >= 0)
		close(c->in);
	if (r == 0 && c->out >= 0 && c->out != c->in)
		close(c->out);
	return r;
}

/* ---- fs ---- */

_Static_assert(RAM_MAX <= VHOST_USER_FRONTEND_REGIONS_MAX, "a server can map all regions");

/* The regions that a server maps. Returns how many. */
static size_t shared_memory(const struct vmm *vm, struct vhost_user_frontend_region *ret)
{
	for (unsigned i = 0; i < vm->memory.n; i++) {
		const struct ram *ram = &vm->memory.ram[i];

		ret[i] = (struct vhost_user_frontend_region){ ram->gpa, ram->size, ram->fd, ram->offset };
	}
	return vm->memory.n;
}

void devices_tell_memory(struct vmm *vm)
{
	struct vhost_user_frontend_region regions[RAM_MAX];
	size_t n = shared_memory(vm, regions);
	struct vm_device *d;

	list_foreach (d, &vm->devices, struct vm_device, node) {
		if (d->kind != DEVICE_FS)
			continue;
		loop_enter(d->loop);
		vhost_user_frontend_set_memory(d->dev, regions, n); /* there is always some, and never too much */
		loop_leave(d->loop);
	}
}

int vmm_add_fs(struct vmm *vm, const char *id, const struct vmm_fs *c, struct err *e)
{
	struct vhost_user_frontend_region regions[RAM_MAX];
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r;

	if (!vm->config.shared_memory)
		return err_set(e, ERR_CONFIG, EINVAL, "device \"%s\" needs a virtual machine with shared memory", id);
	r = device_begin(vm, id, DEVICE_FS, c, false, &d, e);
	if (r < 0)
		return r;
	loop_enter(d->loop);
	r = vhost_user_fs_new(d->loop, c->socket, c->tag, c->queues ? c->queues : 1,
			      (uint16_t)(c->queue_size ? c->queue_size : 1024), regions, shared_memory(vm, regions),
			      &dev, e);
	loop_leave(d->loop);
	return device_finish(d, dev, r, e);
}

/* ---- memory ---- */

static int on_plug(void *userdata, gpa_t gpa, uint64_t len)
{
	return memory_plug(((struct vm_device *)userdata)->vm, gpa, len);
}

static int on_unplug(void *userdata, gpa_t gpa, uint64_t len)
{
	return memory_unplug(((struct vm_device *)userdata)->vm, gpa, len);
}

static const struct virtio_mem_host mem_host = { on_plug, on_unplug };

int vmm_add_memory(struct vmm *vm, const char *id, const struct vmm_memory *c, struct err *e)
{
	/* With the block that was chosen, so that a snapshot is restored with the same. */
	struct vmm_memory chosen = { c->max, c->block ? c->block : memory_choose_block(vm, c->max), c->requested };
	struct virtio_mem_config m = {
		.size = c->max, .block = chosen.block, .requested = c->requested, .host = &mem_host
	};
	struct virtio_device *dev = NULL;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_MEMORY, &chosen, false, &d, e);

	if (r < 0)
		return r;
	r = memory_check_block(vm, m.size, m.block, e);
	if (r == 0)
		r = device_place_memory(d, m.size, e);
	m.addr = d->gpa;
	m.userdata = d;
	if (r == 0) {
		loop_enter(d->loop);
		r = virtio_mem_new(d->loop, &m, &dev, e);
		loop_leave(d->loop);
	}
	if (r == 0) {
		r = memory_add_room(vm, d->gpa, d->size, m.block, e);
		if (r < 0) {
			loop_enter(d->loop);
			virtio_device_free(take_ptr(dev));
			loop_leave(d->loop);
		}
	}
	r = device_finish(d, dev, r, e);
	if (r < 0)
		memory_remove_room(vm, m.addr);
	else
		devices_tell_memory(vm);
	return r;
}

/* ---- pmem ---- */

/* The file as memory, rounded up to large pages; behind its end there are zeroes that are not kept. */
static int map_file(struct vm_device *d, int fd, uint64_t file_size, bool readonly, struct err *e)
{
	int prot = PROT_READ | (readonly ? 0 : PROT_WRITE), r;

	d->host = mmap(NULL, d->size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (d->host == MAP_FAILED) {
		d->host = NULL;
		return err_sys(e, errno, "cannot map it");
	}
	r = mmap(d->host, file_size, prot, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ? -errno : 0;
	if (r == 0)
		r = d->vm->platform.ops->map(&d->vm->platform, d->gpa, d->size, d->host, readonly);
	if (r == 0)
		return 0;
	munmap(d->host, d->size);
	d->host = NULL;
	return err_sys(e, -r, "cannot map it");
}

static int open_pmem(const struct vmm_pmem *c, int *ret_fd, uint64_t *ret_size, struct err *e)
{
	int fd = open(c->path, (c->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END); /* of block devices too */
	int code = errno;

	if (size > 0) {
		*ret_fd = fd;
		*ret_size = (uint64_t)size;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return size == 0 ? err_set(e, ERR_CONFIG, EINVAL, "%s is empty", c->path)
			 : err_sys(e, code, "cannot open %s", c->path);
}

int vmm_add_pmem(struct vmm *vm, const char *id, const struct vmm_pmem *c, struct err *e)
{
	struct virtio_pmem_config p = { .fd = -1, .rate = rate_of(&c->rate) };
	struct virtio_device *dev = NULL;
	uint64_t file_size = 0;
	struct vm_device *d;
	int r = device_begin(vm, id, DEVICE_PMEM, c, false, &d, e);

	if (r < 0)
		return r;
	r = open_pmem(c, &p.fd, &file_size, e);
	if (r == 0)
		r = device_place_memory(d, (file_size + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1), e);
	if (r == 0)
		r = map_file(d, p.fd, file_size, c->readonly, e);
	p.start = d->gpa;
	p.size = d->size;
	if (r == 0) {
		loop_enter(d->loop);
		r = virtio_pmem_new(d->loop, &p, &dev, e);
		loop_leave(d->loop);
	}
	if (r < 0)
		fd_close(&p.fd);
	return device_finish(d, dev, r, e);
}
