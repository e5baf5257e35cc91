/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stand-in for a security policy: runs a command for which system calls fail
 * as if nobody allowed them.  What it starts inherits that.
 *
 *	refuse CALL[:SECOND][,...] ERRNO COMMAND...
 *
 * With a number behind it only if that is the second argument, as of ioctl().
 */
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <err.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CALLS_MAX = 16 };

#define CALL(x) { #x, SYS_##x }
static const struct {
	const char *name;
	unsigned number;
} calls[] = {
	CALL(capset), CALL(chroot), CALL(close_range), CALL(connect),
	CALL(inotify_init1),
	CALL(inotify_add_watch), CALL(ioctl), CALL(mount), CALL(pidfd_open),
	CALL(pidfd_send_signal), CALL(pivot_root), CALL(prctl), CALL(setgroups),
	CALL(setns), CALL(setsid), CALL(sethostname), CALL(umount2),
	CALL(unshare),
#ifdef SYS_landlock_create_ruleset
	CALL(landlock_create_ruleset),
#endif
};

static struct sock_filter prog[5 * CALLS_MAX + 2];
static unsigned short n;

static void add(unsigned short code, unsigned char jf, unsigned k)
{
	prog[n++] = (struct sock_filter){ code, 0, jf, k };
}

static void look_at(size_t at)
{
	add(BPF_LD | BPF_W | BPF_ABS, 0, (unsigned)at);
}

static void refuse(char *name, unsigned error)
{
	char *second = strchr(name, ':');
	size_t i;

	if (second)
		*second++ = '\0';
	for (i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		if (strcmp(calls[i].name, name))
			continue;
		add(BPF_JMP | BPF_JEQ | BPF_K, second ? 4 : 1,
		    calls[i].number);
		if (second) {
			look_at(offsetof(struct seccomp_data, args[1]));
			add(BPF_JMP | BPF_JEQ | BPF_K, 1,
			    (unsigned)strtoul(second, NULL, 0));
		}
		add(BPF_RET | BPF_K, 0, SECCOMP_RET_ERRNO | error);
		if (second)
			look_at(offsetof(struct seccomp_data, nr));
		return;
	}
	errx(2, "no call %s", name);
}

static unsigned error_of(const char *name)
{
	static const struct {
		const char *name;
		unsigned number;
	} errors[] = {
		{ "EPERM", EPERM }, { "EACCES", EACCES },
		{ "ENOSYS", ENOSYS }, { "ENOTTY", ENOTTY },
	};
	size_t i;

	for (i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (!strcmp(errors[i].name, name))
			return errors[i].number;
	errx(2, "no error %s", name);
}

int main(int argc, char **argv)
{
	struct sock_fprog f = { .filter = prog };
	char *name;

	if (argc < 4)
		errx(2, "refuse CALL[:SECOND][,...] ERRNO COMMAND...");
	look_at(offsetof(struct seccomp_data, nr));
	for (name = strtok(argv[1], ","); name; name = strtok(NULL, ","))
		refuse(name, error_of(argv[2]));
	add(BPF_RET | BPF_K, 0, SECCOMP_RET_ALLOW);
	f.len = n;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f))
		err(1, "seccomp");
	execvp(argv[3], argv + 3);
	err(127, "%s", argv[3]);
}
