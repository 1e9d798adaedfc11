/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of engine_uring.c where liburing is not there at build time. */
#include <errno.h>

#include "block/engine.h"

int block_engine_uring_new(struct loop *loop, struct block_engine **ret)
{
	return -ENOSYS;
}
