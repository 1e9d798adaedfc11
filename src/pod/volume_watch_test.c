/* SPDX-License-Identifier: Apache-2.0 */
/* A pod whose guest has copies: what the kubelet changes in a configMap reaches the guest. */
#include "pod/pod_fixture.h"

#define VOLUME "volumes/kubernetes.io~configmap/conf"

static void put_volume(void)
{
	_cleanup_free_ char *bundle = str_printf("%s/c1/config.json", t.dir), *root = str_printf("%s/c1/rootfs", t.dir);
	_cleanup_free_ char *text = str_printf(
		"{\"ociVersion\":\"1.1.0\",\"process\":{\"cwd\":\"/\",\"args\":[\"/bin/c1\"]},\"root\":{\"path\":"
		"\"rootfs\"},\"mounts\":[{\"destination\":\"/conf\",\"type\":\"bind\",\"source\":\"%s/" VOLUME
		"\",\"options\":[\"rbind\",\"ro\"]}],\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":"
		"\"network\"}]}}",
		t.dir);

	assert_int_equal(dir_make(root, 0755), 0);
	assert_int_equal(file_replace(bundle, text, strlen(text), 0644), 0);
	assert_int_equal(dir_make(tmp(VOLUME "/..1"), 0755), 0);
	assert_int_equal(file_replace(tmp(VOLUME "/..1/key"), "old", 3, 0644), 0);
	assert_int_equal(symlink("..1", tmp(VOLUME "/..data")), 0);
	assert_int_equal(symlink("..data/key", tmp(VOLUME "/key")), 0);
}

/* As the kubelet's AtomicWriter does. */
static void change_volume(void)
{
	assert_int_equal(dir_make(tmp(VOLUME "/..2"), 0755), 0);
	assert_int_equal(file_replace(tmp(VOLUME "/..2/key"), "new", 3, 0644), 0);
	assert_int_equal(symlink("..2", tmp(VOLUME "/..data_tmp")), 0);
	assert_int_equal(rename(tmp(VOLUME "/..data_tmp"), tmp(VOLUME "/..data")), 0);
	dir_remove(tmp(VOLUME "/..1"));
}

static unsigned copies_of(const char *path)
{
	_cleanup_free_ char *line = str_printf("CopyFile " GUEST_SHARE_DIR "/c1-mount-0/%s ", path);
	unsigned n = 0;

	pthread_mutex_lock(&guest.lock);
	for (size_t i = 0; i < guest.seen.len; i++)
		n += str_after(guest.seen.v[i], line) != NULL;
	pthread_mutex_unlock(&guest.lock);
	return n;
}

static void begin(void)
{
	config_free(t.config);
	load_config("none");
	guest.can.block = false; /* the root is copied, too: no program is needed to pack it */
	put_volume();
	make_pod();
	create("c1");
	start("c1", "");
}

static void test_change(void **state)
{
	begin();
	assert_int_equal(copies_of("..1/key"), 1);
	assert_int_equal(copies_of("..data"), 1);
	change_volume();
	for (int i = 0; i < 2000 && copies_of("..data") < 2; i++)
		loop_run_once(t.loop, 10);
	assert_int_equal(copies_of("..data"), 2);
	assert_int_equal(copies_of("..2/key"), 1);
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

/* A guest that does not take it holds up nothing else, and nothing of the volume. */
static void test_silence(void **state)
{
	unsigned open_now, copied;

	begin();
	copied = copies_of("..2/key");
	guest.at = "CopyFile";
	guest.act = NEVER;
	open_now = count_fds();
	change_volume();
	for (int i = 0; i < 2000 && count_fds() == open_now; i++)
		loop_run_once(t.loop, 10);
	assert_true(count_fds() > open_now);
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_int_equal(copies_of("..2/key"), copied);
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

/* Nor does one that is to get the files of another container: that one's creation waits. */
static void test_silence_while_creating(void **state)
{
	static struct outcome o; /* told at the latest when the pod ends */
	struct pod_container_params p = { .id = "c2", .standin_fd = -1 };
	size_t copied;

	begin();
	put_bundle("c2", MEMBER);
	for (int i = 0; i < 2; i++) {
		o = (struct outcome){ 0 };
		guest.at = "CopyFile";
		guest.act = NEVER;
		copied = fake_asked_so_far();
		p.bundle = tmp("c2");
		pod_create(t.pod, &p, on_pid, &o);
		assert_int_equal(try_pause("c1", NULL), 0);
		assert_int_equal(try_resume("c1", NULL), 0);
		if (o.done)
			fail_msg("%s", o.e.text);
		assert_int_not_equal(fake_asked_at("CopyFile " GUEST_SHARE_DIR "/c2-rootfs 40755", copied), SIZE_MAX);
		if (i == 0) {
			pod_free(take_ptr(t.pod));
			assert_int_equal(o.result, -ECANCELED);
			guest.act = ANSWER;
			make_pod();
			create("c1");
			start("c1", "");
		}
	}
	pod_free(take_ptr(t.pod));
	guest.act = ANSWER;
	make_pod();
	create("c1");
	copied = fake_asked_so_far();
	create("c2");
	assert_true(fake_asked_at("CopyFile " GUEST_SHARE_DIR "/c2-rootfs 40755", copied) <
		    fake_asked_at("CopyFile " GUEST_SHARE_DIR "/c2-mount-1 100644", copied));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_silence, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_silence_while_creating, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("volume_watch", tests, NULL, NULL);
}
