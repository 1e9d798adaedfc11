/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The /init of the bare boot that `make bench` compares `caisson run` with: says so on the console and powers off.
 * "bare.modules" on the kernel command line makes it load the modules that the agent would load first, in the same
 * order; it then says how long that took.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double uptime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int load_modules(void)
{
	FILE *list = fopen("/etc/caisson/modules", "re");
	char path[512];
	int n = 0;

	if (!list)
		return 0;
	while (fgets(path, sizeof(path), list)) {
		int fd;

		path[strcspn(path, "\n")] = '\0';
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0)
			printf("bare: %s: %m\n", path);
		else
			n++;
		if (fd >= 0)
			close(fd);
	}
	fclose(list);
	return n;
}

int main(void)
{
	double start = uptime();
	char line[4096] = "";
	int fd;

	printf("bare: up at %.3f s\n", start);
	fflush(stdout);
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, line, sizeof(line) - 1);

		line[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	if (strstr(line, "bare.modules")) {
		int n = load_modules();

		printf("bare: %d modules in %.3f s\n", n, uptime() - start);
	}
	fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, line, sizeof(line) - 1);

		line[n > 0 ? n : 0] = '\0';
		close(fd);
		for (char *p = strtok(line, "\n"); p; p = strtok(NULL, "\n"))
			if (!strncmp(p, "MemTotal", 8) || !strncmp(p, "MemFree", 7) || !strncmp(p, "MemAvail", 8))
				printf("bare: %s\n", p);
	}
	fflush(stdout);
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
