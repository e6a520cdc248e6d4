/*
 * The benchmark guest's process 1: runs /bench, marks the time since boot in between, powers off. From the kernel command
 * line: benchsecs=SECONDS, benchonly=NAME.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void mark(const char *what)
{
	double up = 0;
	FILE *f = fopen("/proc/uptime", "r");
	if (f) {
		if (fscanf(f, "%lf", &up) != 1)
			up = 0;
		fclose(f);
	}
	printf("MARK %s %.2f\n", what, up);
	fflush(stdout);
}

int main(void)
{
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mark("userland");
	const char *limit = getenv("benchsecs");
	pid_t child = fork();
	if (child == 0) {
		execl("/bench", "bench", limit ? limit : "1", getenv("benchonly"), (char *)NULL);
		perror("/bench");
		_exit(1);
	}
	waitpid(child, NULL, 0);
	mark("end");
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
