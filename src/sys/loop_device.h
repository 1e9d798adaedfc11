/* SPDX-License-Identifier: Apache-2.0 */
/* Loop devices: a file as a block device, as long as somebody holds it open or has it mounted. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/*
 * *ret_path: "/dev/loopN", the caller's to free. *ret_fd keeps the device until it is mounted; with the last close or
 * unmount it is free again (autoclear).
 */
int loop_device_attach(const char *file, bool readonly, char **ret_path, int *ret_fd, struct err *e);
