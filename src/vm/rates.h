/* SPDX-License-Identifier: Apache-2.0 */
/* The public form of rate limits as the device models' own. Private to the layer. */
#pragma once

#include "caisson/vmm.h"
#include "virtio/rate.h"

static inline struct rate_bucket_config rate_bucket_of(const struct vmm_bucket *b)
{
	return (struct rate_bucket_config){ b->size, b->burst, b->refill_ms };
}

/* NULL: no limits. */
static inline struct rate_config rate_of(const struct vmm_rate *r)
{
	return r ? (struct rate_config){ rate_bucket_of(&r->bytes), rate_bucket_of(&r->ops) }
		 : (struct rate_config){ 0 };
}
