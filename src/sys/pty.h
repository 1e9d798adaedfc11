/* SPDX-License-Identifier: Apache-2.0 */
/* Pseudo-terminals: allocated in a given devpts, made the controlling terminal, resized. */
#pragma once

#include <stdint.h>

/*
 * Open a new pair through the ptmx device at path below root_fd (see inroot.h), which must be one of a devpts file
 * system (-ENOTTY otherwise: a hostile file or another device). Both ends are close-on-exec. 0 or -errno.
 */
int pty_open(int root_fd, const char *path, int *ret_master, int *ret_slave);
/* -errno when fd is no terminal. */
int pty_resize(int fd, uint16_t rows, uint16_t columns);
/* The calling process leads a new session with fd as its terminal. 0 or -errno. */
int pty_make_controlling(int fd);
