/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod without a VM, for tests of what stands above pods: pod.h implemented in memory. A process ends when a signal is
 * sent to it (128 + signal) or the test says so. A container whose id begins with "fail" cannot be created, one whose
 * id begins with "wrong" cannot be started; the creation of "slow" takes until fake_pod_go_on(), the deletion of
 * "lasting" until fake_pod_removed(). pod_cleanup() leaves a file STATE_ROOT/ID.cleaned.
 */
#pragma once

#include "pod/pod.h"

/* What the pods of this process were asked, one line per call. */
extern struct strv fake_pod_calls;

/* The process ends, as told from the loop. */
void fake_pod_end(struct pod *pod, const char *id, const char *exec_id, int status);
/* The creation of the container "slow" ends: so, with 0 as if it had not been slow. */
void fake_pod_go_on(struct pod *pod, int result);
/* The guest has removed the container "lasting". */
void fake_pod_removed(struct pod *pod);
void fake_pod_oom(struct pod *pod, const char *id);
