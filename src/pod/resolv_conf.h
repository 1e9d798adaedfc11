/* SPDX-License-Identifier: Apache-2.0 */
/* resolv.conf(5) of a container, as far as it names a server on the pod's own loopback. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

/*
 * The first name server of 127.0.0.0/8 but for 127.0.0.1: that one is the container's own, or its neighbour's in the
 * pod, and is in the guest. False: there is none. Containers may have written the text.
 */
bool resolv_conf_loopback(const char *text, struct in_addr *ret);
/* The same of a file. 1, 0, -errno. */
int resolv_conf_read(const char *path, struct in_addr *ret);
