/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "oci/digest.h"

#define ADDRESS_FILE "address"
#define ADDRESS_MAX  4096

char *shim_address(const char *containerd_address, const char *namespace, const char *sandbox)
{
	_cleanup_free_ char *name = str_printf("%s/%s/%s", containerd_address, namespace, sandbox);
	char hex[DIGEST_HEX];

	if (!name)
		return NULL;
	digest_of(name, strlen(name), hex);
	return str_printf(SHIM_SCHEME SHIM_SOCKET_DIR "/%s", hex);
}

const char *shim_address_path(const char *address)
{
	const char *path = str_after(address, SHIM_SCHEME);

	return path && *path == '/' ? path : NULL;
}

bool shim_is_alive(const char *address)
{
	const char *path = shim_address_path(address);
	int fd = -1, r = path ? unix_connect(path, &fd) : -EINVAL;

	fd_close(&fd);
	return r == 0 || r == -EAGAIN; /* its backlog is full */
}

int shim_listen(const char *address, int *ret_fd, struct err *e)
{
	const char *path = shim_address_path(address);
	int r = dir_make(SHIM_SOCKET_DIR, 0711);

	if (r < 0)
		return err_sys(e, -r, "cannot make %s", SHIM_SOCKET_DIR);
	r = unix_listen(path, 0600, ret_fd, e);
	if (r != -EADDRINUSE || shim_is_alive(address))
		return r;
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "cannot remove %s, which a dead shim left", path);
	if (e)
		e->domain = ERR_NONE;
	return unix_listen(path, 0600, ret_fd, e);
}

int shim_write_address(const char *bundle, const char *address, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/" ADDRESS_FILE, bundle);
	int r = path ? file_replace(path, address, strlen(address), 0644) : -ENOMEM;

	return r < 0 ? err_sys(e, -r, "cannot write %s/" ADDRESS_FILE, bundle) : 0;
}

int shim_read_address(const char *bundle, char **ret)
{
	_cleanup_free_ char *path = str_printf("%s/" ADDRESS_FILE, bundle);

	return path ? file_read(path, ADDRESS_MAX, ret, NULL) : -ENOMEM;
}
