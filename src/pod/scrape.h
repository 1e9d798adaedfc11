/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at a pod: everything of metrics.h that it has, as text. The guest is asked from the loop, all questions at
 * once, and has SCRAPE_GUEST_MS to answer; one that is silent costs its own numbers and nothing else.
 */
#pragma once

#include "pod/metrics.h"
#include "pod/monitor.h"

#define SCRAPE_GUEST_MS 2000

struct scrape;

/* text: valid during the call; NULL when result < 0. */
typedef void (*scrape_done_fn)(int result, const struct buf *text, void *userdata);

/*
 * fn is called once, from the loop, never from inside this function, unless cancelled. overhead: what the look before
 * left; outlives this one.
 */
int scrape_start(const struct pod_monitor_params *params, struct metrics_overhead *overhead, scrape_done_fn fn,
		 void *userdata, struct scrape **ret, struct err *e);
/* Not to be used once fn has been called. NULL does nothing. */
void scrape_cancel(struct scrape *s);
