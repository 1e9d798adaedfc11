/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring: what is refused, and memory that comes from a page server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/unix_socket.h"
#include "vm/snapshot_fixture.h"

static void write_state(struct state *s, const struct place *p)
{
	_cleanup_close_ int fd = open(p->state, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(state_save(s, fd, p->state, NULL), 0);
	state_free(s);
}

static void test_files_that_do_not_fit(void **state)
{
	char zeroes[4096] = { 0 }, other[80];
	struct vmm_restore c;
	struct place p, q;
	unsigned files;

	make_snapshot(&p, false, false);
	make_snapshot(&q, false, false);
	files = count_fds();
	c = from(&p);
	c.memory_path = q.memory;
	refuse(&c, "state and memory belong to different snapshots");
	c.memory_path = p.dir;
	refuse(&c, "is not a file of guest memory");
	c.memory_path = "/nowhere/memory";
	refuse(&c, "cannot open /nowhere/memory");
	c.memory_path = NULL;
	refuse(&c, "a memory file or a page server is needed");
	c.memory_path = p.state;
	refuse(&c, "belongs to another snapshot, or is cut off");
	c = from(&p);
	c.state_path = p.memory;
	refuse(&c, "is not a saved state of a machine");
	assert_int_equal(truncate(q.memory, MEMORY - 4096), 0);
	c = from(&q);
	refuse(&c, "bytes of memory: it belongs to another snapshot, or is cut off");
	assert_int_equal(truncate(q.state, 1000), 0);
	refuse(&c, "is cut off or longer than it says");
	snprintf(other, sizeof other, "%s/other", p.dir);
	c.state_path = other;
	refuse(&c, "cannot open");
	assert_int_equal(file_replace(other, zeroes, sizeof zeroes, 0600), 0);
	refuse(&c, "is not a saved state of a machine");
	assert_int_equal(count_fds(), files);
	drop_place(&p);
	drop_place(&q);
}

static void test_other_machines(void **state)
{
	struct vmm_restore c;
	struct state *s, *vcpu;
	_cleanup_free_ uint8_t *cpuid = NULL;
	const void *blob;
	struct place p;
	size_t len;

	make_snapshot(&p, false, false);
	c = from(&p);
	s = read_state(&p);
	state_put_str(s, "architecture", "pdp11");
	write_state(s, &p);
	refuse(&c, "it was saved on pdp11, and this host is x86_64");
	s = read_state(&p);
	state_put_str(s, "architecture", "x86_64");
	state_put_u64(s, "snapshot-version", 99);
	write_state(s, &p);
	refuse(&c, "it is of version 99, and this program restores version 1");
	s = read_state(&p);
	state_put_u64(s, "snapshot-version", 1);
	state_put_u64(state_child_n(state_child(s, "ram"), "region", 0), "size", MEMORY * 2);
	write_state(s, &p);
	refuse(&c, "bytes, and the virtual machine that was saved had 8388608 bytes of memory");
	s = read_state(&p);
	state_put_u64(state_child_n(state_child(s, "ram"), "region", 0), "size", MEMORY);
	state_put_u64(state_child(s, "config"), "memory", MEMORY * 2);
	write_state(s, &p);
	refuse(&c, "memory was in other places when it was saved");
	s = read_state(&p);
	state_put_u64(state_child(s, "config"), "memory", MEMORY);
	vcpu = state_child(state_child_n(state_child(s, "vcpus"), "vcpu", 0), "state");
	assert_int_equal(state_get_blob(vcpu, "cpuid", &blob, &len, NULL), 0);
	cpuid = memcpy(malloc(len), blob, len);
	memcpy(cpuid + 16, "Cent", 4); /* leaf 0, ebx */
	state_put_bytes(vcpu, "cpuid", cpuid, len);
	write_state(s, &p);
	refuse(&c, "it was saved on a processor of Cent");
	drop_place(&p);
}

static uint64_t crc64(const uint8_t *p, size_t len)
{
	uint64_t crc = ~0ULL;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xc96c5795d7870f42ULL : crc >> 1;
	}
	return ~crc;
}

/* With a wrong checksum a spoilt file is always refused; with a right one refused, or restored to whatever it says. */
static void test_spoilt_states(void **state)
{
	_cleanup_free_ char *data = NULL;
	unsigned restored = 0, refused = 0, files;
	struct vmm_restore c;
	struct place p;
	size_t len;

	make_snapshot(&p, false, false);
	c = from(&p);
	assert_int_equal(file_read(p.state, 1 << 20, &data, &len), 0);
	files = count_fds();
	for (size_t i = 0; i < len; i += len / 100 + 1) {
		for (int right = 0; right < 2; right++) {
			uint64_t crc;
			struct vmm *vm = NULL;
			struct err e = { 0 };

			data[i] ^= (char)(1 << i % 8);
			if (right) {
				crc = crc64((uint8_t *)data, len - 8);
				memcpy(data + len - 8, &crc, 8);
			}
			assert_int_equal(file_replace(p.state, data, len, 0600), 0);
			if (vmm_restore(&c, &vm, &e) == 0) {
				assert_true(right);
				restored++;
				vmm_free(vm);
			} else {
				assert_true(err_is_set(&e));
				assert_null(vm);
				refused++;
			}
			data[i] ^= (char)(1 << i % 8);
			crc = crc64((uint8_t *)data, len - 8);
			memcpy(data + len - 8, &crc, 8);
		}
	}
	assert_true(restored && refused > restored);
	assert_int_equal(count_fds(), files);
	drop_place(&p);
}

/* ---- a page server ---- */

struct server {
	int listen;
	const char *memory;
	char text[1024];
	unsigned served;
};

static int receive_handshake(struct server *s)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { s->text, sizeof s->text - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	int fd = accept(s->listen, NULL, NULL), uffd = -1;

	assert_true(recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) > 0);
	memcpy(&uffd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof uffd);
	close(fd);
	return uffd;
}

/* Answers faults out of the memory file until it is told to end by a connection. */
static void *serve(void *arg)
{
	struct server *s = arg;
	_cleanup_free_ uint8_t *memory = contents(s->memory, MEMORY);
	unsigned long long base = 0;
	struct uffd_msg m;
	int uffd = receive_handshake(s);

	sscanf(s->text, "[{\"base_host_virt_addr\":%llu", &base);
	for (;;) {
		struct pollfd fds[] = { { .fd = uffd, .events = POLLIN }, { .fd = s->listen, .events = POLLIN } };
		struct uffdio_copy copy = { .len = 4096 };

		poll(fds, 2, -1);
		if (fds[1].revents)
			break;
		if (read(uffd, &m, sizeof m) != sizeof m || m.event != UFFD_EVENT_PAGEFAULT)
			continue;
		copy.dst = m.arg.pagefault.address & ~4095ULL;
		copy.src = (uintptr_t)memory + (copy.dst - base);
		s->served += ioctl(uffd, UFFDIO_COPY, &copy) == 0;
	}
	close(uffd);
	return NULL;
}

static void test_page_server(void **state)
{
	_cleanup_close_ int fd = -1;
	char path[80], expected[256];
	struct server s = { 0 };
	struct err e = { 0 };
	struct vmm_restore c;
	struct vmm *vm = NULL;
	struct place p;
	pthread_t thread;
	int console[2], r;

	make_snapshot(&p, false, false);
	snprintf(path, sizeof path, "%s/server", p.dir);
	assert_int_equal(unix_listen(path, 0600, &s.listen, &e), 0);
	fd_set_nonblock(s.listen, false);
	s.memory = p.memory;
	assert_int_equal(pthread_create(&thread, NULL, serve, &s), 0);
	assert_int_equal(pipe(console), 0);
	c = from(&p);
	c.memory_path = NULL;
	c.uffd_socket = path;
	c.serial_out = console[1];
	r = vmm_restore(&c, &vm, &e);
	if (r < 0 && strstr(e.text, "cannot make a userfaultfd")) {
		print_message("skipped: %s\n", e.text);
		assert_int_equal(unix_connect(path, &fd), 0);
		pthread_cancel(thread);
	} else {
		if (r < 0)
			fail_msg("%s", e.text);
		goes_on(vm, console[0]);
		vmm_free(vm);
		assert_int_equal(unix_connect(path, &fd), 0);
	}
	pthread_join(thread, NULL);
	if (r == 0) {
		/* The guest touched some, and got no more than that. */
		assert_true(s.served > 4 && s.served < MEMORY / 4096);
		snprintf(expected, sizeof expected,
			 "\"size\":%u,\"offset\":0,\"page_size\":4096,\"page_size_kib\":4096}]", MEMORY);
		assert_non_null(strstr(s.text, expected));
	}
	close(s.listen);
	close(console[0]);
	close(console[1]);
	c.uffd_socket = "/nowhere/server";
	if (r == 0)
		refuse(&c, "cannot hand guest memory to the page server at /nowhere/server");
	drop_place(&p);
	if (r < 0)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_that_do_not_fit),
		cmocka_unit_test(test_other_machines),
		cmocka_unit_test(test_spoilt_states),
		cmocka_unit_test(test_page_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
