/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_VSOCK sockets and the server addresses that Kata's configuration and kernel command line use:
 *   vsock://CID:PORT   CID -1: any; PORT decimal
 *   unix://PATH        PATH absolute, or "@NAME" for an abstract one
 */
#pragma once

#include <stdint.h>
#include <sys/un.h>

#include "base/err.h"

#define VSOCK_CID_ANY  UINT32_MAX
#define VSOCK_CID_HOST 2u

enum sock_addr_kind { SOCK_ADDR_VSOCK, SOCK_ADDR_UNIX };

struct sock_addr {
	enum sock_addr_kind kind;
	uint32_t cid, port;                                     /* vsock */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* unix; a leading '@' stands for abstract */
};

/* 0; -EINVAL with a message that names what is wrong. */
int sock_addr_parse(const char *text, struct sock_addr *ret, struct err *e);

/*
 * A listening stream socket (close-on-exec), or a negative errno. A stale Unix socket file that nobody listens on is
 * replaced; one that is served gives -EADDRINUSE. The file is readable and writable for its owner only.
 */
int sock_addr_listen(const struct sock_addr *a, struct err *e);

/* Listen on a port of every CID of this machine. A descriptor or a negative errno. */
int vsock_listen(uint32_t port, struct err *e);

/* Connect; blocks at most timeout_ms. A descriptor (close-on-exec, blocking) or a negative errno. */
int vsock_connect(uint32_t cid, uint32_t port, int timeout_ms, struct err *e);
