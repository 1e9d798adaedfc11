/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/vsock_service.h"

#include <errno.h>

#include "vhostuser/server.h"
#include "vsock/vsock.h"

struct vsock_service {
	struct vhost_user_server *server;
};

#define GUEST_CID 3

static int make_vsock(struct loop *loop, void *userdata, struct virtio_device **ret, struct err *e)
{
	const char *path = userdata;

	return vsock_device_new(loop, path, GUEST_CID, ret, e);
}

int vsock_service_start(const char *hybrid_path, const char *device_path, struct vsock_service **ret, struct err *e)
{
	struct vhost_user_server_config c = {
		.path = device_path,
		.fd = -1,
		.thread_name = "vsock",
		.factory = make_vsock,
		.userdata = (void *)(uintptr_t)hybrid_path,
	};
	struct vsock_service *svc = calloc(1, sizeof *svc);
	int r;

	if (!svc)
		return err_sys(e, ENOMEM, "cannot start the vsock service");
	r = vhost_user_server_start(&c, &svc->server, e);
	if (r < 0) {
		free(svc);
		err_wrap(e, "vsock service");
		return r;
	}
	*ret = svc;
	return 0;
}

void vsock_service_stop(struct vsock_service *svc)
{
	if (!svc)
		return;
	vhost_user_server_stop(svc->server);
	free(svc);
}
