/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_debug.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/oci_record.h"
#include "cli/terminal.h"
#include "hypervisor/driver.h"
#include "pod/agent.h"
#include "pod/state.h"

#define CONNECT_TIMEOUT_MS 10000
#define END_OF_INPUT       "\x04" /* ^D: there is a terminal at the other end */
#define END_AGAIN_MS       500

/*
 * Until the guest closes it. The end of our input is typed: again and again, because a shell that begins to edit its
 * line drops what was typed as an end before.
 */
static void pump(int guest)
{
	struct pollfd p[2] = { { .fd = guest, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
	bool end = false;
	char data[4096];
	ssize_t n;
	int ready;

	for (;;) {
		ready = poll(p, 2, end ? END_AGAIN_MS : -1);
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0)
			return;
		if (p[0].revents) {
			n = read(guest, data, sizeof data);
			if (n <= 0 || fd_write_full(STDOUT_FILENO, data, (size_t)n) < 0)
				return;
		}
		if (p[1].revents) {
			n = read(STDIN_FILENO, data, sizeof data);
			if (n > 0)
				(void)fd_write_full(guest, data, (size_t)n);
			end = n <= 0;
			p[1].fd = end ? -1 : STDIN_FILENO;
		}
		if (end && (ready == 0 || p[1].revents))
			(void)fd_write_full(guest, END_OF_INPUT, 1);
	}
}

static int find_guest(const char *root, const char *id, struct pod_state *ret, struct err *e)
{
	_cleanup_oci_record_ struct oci_record record = { 0 };
	const char *sandbox = oci_record_read(root, id, &record, NULL) == 0 ? record.sandbox : id;
	bool alive = false;
	int r = state_read(root, sandbox, ret, &alive, e);

	if (r < 0)
		return r;
	return alive && *ret->agent_address ? 0 : err_set(e, ERR_CONFIG, ESRCH, "%s has no guest that runs", id);
}

int exec_debug(const char *root, const char *id, struct err *e)
{
	_cleanup_pod_state_ struct pod_state state = { 0 };
	_cleanup_close_ int fd = -1;
	int r = find_guest(root, id, &state, e);

	if (r < 0)
		return r;
	r = vm_connect_address(state.agent_address, AGENT_DEBUG_CONSOLE_PORT, clock_ms() + CONNECT_TIMEOUT_MS, &fd, e);
	if (r < 0) {
		err_append(e, "; a guest has a debug console when it was started with debug_console_enabled = true in "
			      "[agent.kata]");
		return r;
	}
	terminal_raw(STDIN_FILENO);
	pump(fd);
	terminal_restore();
	return 0;
}
