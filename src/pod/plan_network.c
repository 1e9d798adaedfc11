/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "user" is passt where it is installed and the hypervisor can talk to it, else the VMM's own user-mode stack. Both
 * need no privileges and reach the outside by the host's sockets. With passt the guest cannot reach the host's
 * loopback; the VMM's stack maps the gateway address to it, which the plan notes.
 *
 * In the guest both look the same: 10.0.2.15/24, gateway 10.0.2.2, name server 10.0.2.3.
 */
#include "pod/plan_network.h"

#include "pod/nics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "pod/plan_list.h"

#define USER_ADDRESS "10.0.2.15"
#define USER_GATEWAY "10.0.2.2"
#define USER_DNS     "10.0.2.3"
#define USER_PREFIX  24

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the network");
}

static bool passt_installed(void)
{
	return access("/usr/bin/passt", X_OK) == 0;
}

/* One of --publish: [HOSTIP:]HOSTPORT:PORT[/PROTO] → "PROTO:HOSTIP:HOSTPORT:PORT". */
static int plan_publish(struct plan *p, const char *text, struct err *e)
{
	char copy[128], *proto, *guest, *host, *ip = (char *)"";
	struct in_addr address;
	uint64_t a, b;

	if (strlen(text) >= sizeof copy)
		goto bad;
	strcpy(copy, text);
	proto = strchr(copy, '/');
	if (proto)
		*proto++ = '\0';
	else
		proto = (char *)"tcp";
	guest = strrchr(copy, ':');
	if (!guest || (!str_eq(proto, "tcp") && !str_eq(proto, "udp")))
		goto bad;
	*guest++ = '\0';
	host = strrchr(copy, ':');
	if (host) {
		*host++ = '\0';
		ip = copy;
	} else {
		host = copy;
	}
	if (*ip == '\0' && host != copy)
		goto bad;
	/* The guest has IPv4 only. */
	if (*ip && inet_pton(AF_INET, ip, &address) != 1)
		goto bad;
	if (str_to_u64(host, 10, &a) < 0 || str_to_u64(guest, 10, &b) < 0 || a == 0 || b == 0 || a > 65535 || b > 65535)
		goto bad;
	return strv_addf(&p->publish, "%s:%s:%u:%u", proto, ip, (unsigned)a, (unsigned)b) < 0 ? out_of_memory(e) : 0;
bad:
	return err_set(
		e, ERR_CONFIG, EINVAL,
		"--publish %s: expected [HOSTIP:]HOSTPORT:PORT[/tcp|udp], with an IPv4 address and ports from 1 to "
		"65535",
		text);
}

static struct plan_interface *add_interface(struct plan *p, const char *name, const char *mac)
{
	struct plan_interface *grown = realloc(p->interfaces, (p->n_interfaces + 1) * sizeof *grown), *i;

	if (!grown)
		return NULL;
	p->interfaces = grown;
	i = &grown[p->n_interfaces++];
	*i = (struct plan_interface){
		.name = strdup(name), .mac = strdup(mac), .address = strdup(""), .gateway = strdup("")
	};
	return i->name && i->mac && i->address && i->gateway ? i : NULL;
}

/* A locally administered unicast address (IEEE 802c). */
static int random_mac(char *ret, size_t size, struct err *e)
{
	unsigned char b[5];

	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		return err_sys(e, errno, "cannot make a MAC address");
	snprintf(ret, size, "02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4]);
	return 0;
}

static int plan_user(struct plan *p, const char *mac, struct vm_device *d, bool passt, struct err *e)
{
	struct plan_interface *i = add_interface(p, "eth0", mac);

	if (!i)
		return out_of_memory(e);
	free(i->address);
	free(i->gateway);
	i->address = strdup(USER_ADDRESS);
	i->gateway = strdup(USER_GATEWAY);
	i->prefix = USER_PREFIX;
	d->u.net.mode = strdup(passt ? "passt" : "user");
	if (!i->address || !i->gateway || !d->u.net.mode || (p->dns.len == 0 && strv_add(&p->dns, USER_DNS) < 0))
		return out_of_memory(e);
	if (passt) {
		p->passt_socket = str_printf("%s/passt.sock", p->vm.run_dir);
		d->u.net.socket = str_printf("%s/passt.sock", p->vm.run_dir);
		return p->passt_socket && d->u.net.socket ? 0 : out_of_memory(e);
	}
	if (strv_copy(&d->u.net.publish, p->publish.v, p->publish.len) < 0 ||
	    strv_add(&p->notes,
		     "passt is not used: the guest can reach services on the host's loopback at " USER_GATEWAY) < 0)
		return out_of_memory(e);
	return 0;
}

static int plan_tap(struct plan *p, const char *tap, const char *mac, struct vm_device *d, struct err *e)
{
	if (if_nametoindex(tap) == 0)
		return err_set(e, ERR_CONFIG, ENODEV,
			       "--net tap:%s: no such interface; make it with: ip tuntap add dev %s mode tap", tap,
			       tap);
	if (p->publish.len)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "--publish works with --net user only; a tap's ports are open to its network");
	d->u.net.mode = strdup("tap");
	d->u.net.tap = strdup(tap);
	return d->u.net.mode && d->u.net.tap && add_interface(p, "eth0", mac) ? 0 : out_of_memory(e);
}

/* It becomes a line of the container's resolv.conf. */
static bool is_address(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1;
}

int plan_network(struct plan *p, const struct plan_request *q, struct err *e)
{
	const char *net = str_empty(q->net) ? "none" : q->net, *tap = str_after(net, "tap:");
	struct vm_capabilities can = { 0 };
	struct vm_device *d;
	int r;

	if (q->dns && !is_address(q->dns))
		return err_set(e, ERR_CONFIG, EINVAL, "--dns %s: expected an IP address", q->dns);
	if (q->dns && strv_add(&p->dns, q->dns) < 0)
		return out_of_memory(e);
	for (size_t i = 0; q->publish && i < q->publish->len; i++)
		if ((r = plan_publish(p, q->publish->v[i], e)) < 0)
			return r;
	if (q->network)
		return p->publish.len ? err_set(e, ERR_CONFIG, EINVAL,
						"--publish works with --net user only; ports of a network namespace "
						"are published by who has made it")
				      : nics_plan(p, q->network, e);
	if (str_eq(net, "none"))
		return p->publish.len ? err_set(e, ERR_CONFIG, EINVAL, "--publish needs a network: add --net user") : 0;
	p->driver->capabilities(&p->config->hypervisor, &can);
	d = plan_add_device(p, VM_DEVICE_NET, "eth0");
	if (!d)
		return out_of_memory(e);
	r = random_mac(d->u.net.mac, sizeof d->u.net.mac, e);
	if (r < 0)
		return r;
	if (tap)
		return plan_tap(p, tap, d->u.net.mac, d, e);
	if (str_eq(net, "passt") && !(can.net_passt && passt_installed()))
		return err_set(e, ERR_CONFIG, ENOENT, "--net passt: %s",
			       can.net_passt ? "passt is not installed; apt-get install passt"
					     : "this hypervisor cannot use passt");
	if (str_eq(net, "passt") || (str_eq(net, "user") && can.net_passt && passt_installed()))
		return plan_user(p, d->u.net.mac, d, true, e);
	if (str_eq(net, "user") && can.net_user)
		return plan_user(p, d->u.net.mac, d, false, e);
	if (str_eq(net, "user"))
		return err_set(e, ERR_CONFIG, ENOTSUP, "--net user: %s",
			       can.net_passt ? "this hypervisor needs passt; apt-get install passt"
					     : "this hypervisor is connected to tap interfaces only: make one and use "
					       "--net tap:NAME, or --net none");
	return err_set(e, ERR_CONFIG, EINVAL, "--net %s: expected none, user, passt, tap:NAME or netns:NAME", net);
}

int plan_passt_argv(const struct plan *p, int fd, struct strv *ret)
{
	int r = 0;

	if (!p->passt_socket)
		return 0;
	r |= strv_add(ret, "passt");
	r |= strv_add(ret, "--foreground");
	r |= strv_add(ret, "--quiet");
	r |= strv_addf(ret, "--fd=%d", fd); /* ends when the VMM closes the connection */
	r |= strv_add(ret, "--address=" USER_ADDRESS);
	r |= strv_addf(ret, "--netmask=%d", USER_PREFIX);
	r |= strv_add(ret, "--gateway=" USER_GATEWAY);
	r |= strv_add(ret, "--dns-forward=" USER_DNS);
	r |= strv_add(ret, "--no-map-gw");
	r |= strv_add(ret, "--no-dhcp");
	r |= strv_add(ret, "--no-ndp");
	r |= strv_add(ret, "--ipv4-only");
	for (size_t i = 0; i < p->publish.len; i++) {
		char proto[4], spec[120], *ip, *host, *guest;

		snprintf(spec, sizeof spec, "%s", p->publish.v[i] + 4);
		snprintf(proto, sizeof proto, "%.3s", p->publish.v[i]);
		ip = spec;
		host = strrchr(spec, ':');
		guest = host + 1;
		*host = '\0';
		host = strrchr(spec, ':');
		*host++ = '\0';
		r |= strv_add(ret, str_eq(proto, "udp") ? "--udp-ports" : "--tcp-ports");
		r |= strv_addf(ret, "%s%s%s:%s", ip, *ip ? "/" : "", host, guest);
	}
	return r ? -ENOMEM : 0;
}
