/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sandbox - keeps a process away from files: an empty root, or Landlock
 */
#include "sandbox.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- an empty root ------------------------------------------------------- */

static bool refused(struct sandbox_denied *d, const char *what)
{
	*d = (struct sandbox_denied){ what, errno };
	return false;
}

/* Map our own user, so that others that connect can be told from us.  Not as
 * root, as programs started by some names have rights. */
static void map_self(uid_t uid)
{
	char map[32];
	int fd, len;

	/* After a change of user it would be root's */
	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	len = snprintf(map, sizeof(map), "%u %u 1", (unsigned)uid,
		       (unsigned)uid);
	if (fd < 0 || write(fd, map, (size_t)len) != len)
		log_debug("Can't map our user: %s", util_error(errno));
	if (fd >= 0)
		close(fd);
}

static bool leave_namespaces(const struct sandbox *s, struct sandbox_denied *d)
{
	/* In a new PID namespace the next child is the first process, and when
	 * that ends there are no others: it has to be the daemon */
	int flags = CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWUTS |
		    (s->new_pid ? CLONE_NEWPID : 0);

	uid_t uid = geteuid();

	if (s->new_user && unshare(CLONE_NEWUSER)) {
		if (s->need_user)
			return refused(d, "creating a user namespace");
		log_debug("Can't create a user namespace: %s",
			  util_error(errno));
	} else if (s->new_user) {
		map_self(uid);
	}
	return !unshare(flags) || refused(d, "leaving namespaces");
}

/* Mount an empty file system on some directory, whose contents are covered */
static bool mount_empty(void)
{
	static const char *const dirs[] = { "/tmp", "/run", "/proc" };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (!mount("", dirs[i], "tmpfs",
			   MS_NODEV | MS_NOEXEC | MS_NOSUID | MS_RDONLY,
			   "nr_inodes=2,nr_blocks=0"))
			return !chdir(dirs[i]);
		if (errno != ENOENT)
			return false;
	}
	return false;
}

/* Where / is the initial file system, as on an initramfs, it cannot be swapped,
 * only covered */
static bool cover_root(void)
{
	return !mount(".", "/", NULL, MS_MOVE, NULL) && !chroot(".") &&
	       !chdir("/");
}

bool sandbox_enter(const struct sandbox *s, struct sandbox_denied *d)
{
	if (!leave_namespaces(s, d))
		return false;
	if (mount("", "/", NULL, MS_UNBINDABLE | MS_REC, NULL))
		return refused(d, "making mounts unbindable");
	if (!mount_empty())
		return refused(d, "mounting an empty file system");
	if (syscall(SYS_pivot_root, ".", ".")) {
		refused(d, "pivot_root (see --chroot-fallback)");
		return s->may_cover && cover_root();
	}
	if (umount2(".", MNT_DETACH | UMOUNT_NOFOLLOW))
		return refused(d, "unmounting the old root");
	return true;
}

/* --- Landlock ------------------------------------------------------------ */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* From linux/landlock.h, which is not everywhere; the first version has all
 * that is needed here */
enum {
	LANDLOCK_VERSION = 1,
	LANDLOCK_PATH_BENEATH = 1,
	LANDLOCK_READ_FILE = 1 << 2,
	LANDLOCK_ALL = (1 << 13) - 1,
};

struct landlock_beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

bool sandbox_has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0,
		       LANDLOCK_VERSION) > 0;
}

int sandbox_files(const int *dir, unsigned n)
{
	uint64_t handled = LANDLOCK_ALL;
	int fd = (int)syscall(SYS_landlock_create_ruleset, &handled,
			      sizeof(handled), 0);
	int err = fd < 0 ? -errno : 0;
	unsigned i;

	for (i = 0; fd >= 0 && i < n; i++) {
		struct landlock_beneath rule = { LANDLOCK_READ_FILE, dir[i] };

		if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_PATH_BENEATH,
			    &rule, 0))
			log_debug("Can't allow a directory: %s",
				  util_error(errno));
	}
	if (!err && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		     syscall(SYS_landlock_restrict_self, fd, 0)))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}
