// SPDX-License-Identifier: Apache-2.0
#include "agent/agent_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/netlink.h"
#include "sys/rtnl.h"

static void make_veth(void)
{
	static const unsigned char hw[] = { 2, 0, 0, 0, 0, 7 };
	struct ifinfomsg h = { 0 };
	struct nlreq q;
	size_t at;
	int fd = rtnl_open();

	nlreq_init(&q, RTM_NEWLINK, 0x600 /* CREATE | EXCL */, &h, sizeof h);
	nlreq_str(&q, IFLA_IFNAME, "v0");
	nlreq_attr(&q, IFLA_ADDRESS, hw, sizeof hw);
	at = nlreq_nest_begin(&q, IFLA_LINKINFO);
	nlreq_str(&q, IFLA_INFO_KIND, "veth");
	nlreq_nest_end(&q, at);
	netlink_call(fd, &q, NULL, NULL);
	close(fd);
}

/* What a machine that others use must not lose to a test: its clock, its modules, its uptime. */
static void drop_capabilities(void)
{
	static const int caps[] = { CAP_SYS_TIME, CAP_SYS_MODULE, CAP_SYS_BOOT, CAP_SYS_RAWIO };

	for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++)
		prctl(PR_CAPBSET_DROP, caps[i]);
}

static int set_read_only(const char *path, bool recursive, bool on)
{
	struct mount_attr a = { 0 };

	if (on)
		a.attr_set = MOUNT_ATTR_RDONLY;
	else
		a.attr_clr = MOUNT_ATTR_RDONLY;
	return (int)syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &a, sizeof a);
}

__attribute__((noreturn)) static void agent_main(const struct harness *h, bool read_only)
{
	const char *agent = getenv("AGENT");
	char address[128];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount(h->dir, h->dir, NULL, MS_BIND, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
		_exit(99);
	if (read_only) {
		if (set_read_only("/", true, true) < 0 || set_read_only("/run", false, false) < 0 ||
		    set_read_only(h->dir, false, false) < 0)
			_exit(98);
	} else {
		mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	}
	make_veth();
	drop_capabilities();
	snprintf(address, sizeof address, "unix://%s/agent.sock", h->dir);
	execl(agent, agent, "--no-init", "--server-addr", address, "--log", getenv("AGENT_LOG") ? "debug" : "error",
	      (char *)NULL);
	_exit(97);
}

static int connect_agent(struct harness *h)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof sa.sun_path, "%.80s/agent.sock", h->dir);
	for (int i = 0; i < 1000; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
			return fd;
		close(fd);
		if (waitpid(h->pid, NULL, WNOHANG) == h->pid)
			return -1;
		usleep(10000);
	}
	return -1;
}

/* The guest may still be starting: the other side then refuses the port or closes. */
static int connect_hybrid(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	for (int i = 0; i < 600; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		char answer[64];
		size_t n = 0;

		if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 &&
		    send(fd, "CONNECT 1024\n", 13, MSG_NOSIGNAL) == 13) {
			while (n < sizeof answer && read(fd, answer + n, 1) == 1 && answer[n++] != '\n')
				;
			if (n > 3 && !memcmp(answer, "OK ", 3))
				return fd;
		}
		close(fd);
		usleep(100000);
	}
	return -1;
}

bool harness_start(struct harness *h, bool read_only)
{
	struct clone_args args = { .flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID,
				   .exit_signal = SIGCHLD };
	int fd;

	*h = (struct harness){ .dir = "/tmp/caisson-agent-XXXXXX" };
	if (getenv("AGENT_HYBRID")) {
		h->remote = true;
		fd = connect_hybrid(getenv("AGENT_HYBRID"));
		return fd >= 0 && loop_new(&h->loop, NULL) == 0 &&
		       ttrpc_client_new(h->loop, fd, -1, &h->client, NULL) == 0;
	}
	if (geteuid() != 0 || !getenv("AGENT") || !mkdtemp(h->dir))
		return false;
	h->pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
	if (h->pid == 0)
		agent_main(h, read_only);
	fd = h->pid < 0 ? -1 : connect_agent(h);
	if (fd < 0 || loop_new(&h->loop, NULL) < 0 || ttrpc_client_new(h->loop, fd, -1, &h->client, NULL) < 0) {
		fprintf(stderr, "the agent does not start in namespaces here\n");
		return false;
	}
	return true;
}

int harness_stop(struct harness *h)
{
	int status = 0;

	ttrpc_client_free(h->client);
	loop_free(h->loop);
	if (h->remote)
		return 0;
	kill(h->pid, SIGTERM);
	waitpid(h->pid, &status, 0);
	dir_remove(h->dir);
	return status;
}

int harness_call(struct harness *h, const char *method, const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret)
{
	h->e = (struct err){ 0 };
	return ttrpc_call(h->client, "grpc.AgentService", method, request, response, 30000, ret, &h->e);
}

int harness_do(struct harness *h, const char *method, const ProtobufCMessage *request)
{
	return harness_call(h, method, request, &google__protobuf__empty__descriptor, NULL);
}

const char *harness_path(const struct harness *h, const char *path)
{
	static char full[4200];

	snprintf(full, sizeof full, "/proc/%d/root%s", (int)h->pid, path);
	return full;
}
