/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pasta - namespaces: join, make, enter, watch
 *
 * Work in the network namespace is done by a short-lived clone that shares
 * memory and descriptors with us.  It needs the right to enter, but not, like
 * setns() there and back, the right to return, which an ordinary user does not
 * have.  We are suspended meanwhile, so there is no concurrency.
 *
 * A command that we run is the first process of its PID namespace, unless it
 * has none.  It reads one byte when its user namespace is mapped, and another
 * one when everything is set up; if the pipe is closed before, it ends.
 */
#include "pasta.h"
#include "log.h"
#include "nllink.h"

#include <linux/magic.h>
#include <linux/nsfs.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef DEVPTS_SUPER_MAGIC
#define DEVPTS_SUPER_MAGIC 0x1cd1
#endif
/* Same number on all architectures, like all since 5.1 */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum { STACK = 256 << 10, POLL_MS = 1000, GRACE_MS = 200, PATH_LEN = 64 };
enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 }; /* as shells have it */

/* The stack of clones: ours is in use while they share our memory */
static uint8_t stack[STACK] __attribute__((aligned(16)));

/* What our parent gave us, for the command, as we change ours */
static struct {
	rlim_t nofile;
	sigset_t blocked, ignored;
} parent;

/* --- inside the namespace ------------------------------------------------ */

struct call {
	int ns;
	int (*fn)(void *arg);
	void *arg;
	int ret;
};

static int enter_and_call(void *arg)
{
	struct call *call = arg;

	/* #syscalls:pasta setns(.,CLONE_NEWNET) */
	if (setns(call->ns, CLONE_NEWNET))
		call->ret = -errno;
	else
		call->ret = call->fn(call->arg);
	/* Returning would be another call, for threads */
	_exit(0);
}

int pasta_in_ns(struct pasta *p, int (*fn)(void *arg), void *arg)
{
	struct call call = { p->netns, fn, arg, -ECHILD };
	sigset_t all, before;
	pid_t pid;

	/* A handler must not run twice, nor between two namespaces */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	/* On s390x the stack comes first.
	 * #syscalls:pasta clone(CLONE_VM+CLONE_VFORK+CLONE_FILES)
	 * #syscalls:pasta s390x:clone(.,CLONE_VM+CLONE_VFORK+CLONE_FILES)
	 * #syscalls:pasta waitid rt_sigprocmask */
	pid = clone(enter_and_call, stack + STACK,
		    CLONE_VM | CLONE_VFORK | CLONE_FILES, &call);
	if (pid < 0)
		call.ret = -errno;
	else
		(void)waitid(P_PID, (id_t)pid, NULL, WEXITED | __WALL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return call.ret;
}

struct tuns {
	int *fd;
	unsigned n;
};

static int open_tun(void *arg)
{
	const struct tuns *want = arg;
	unsigned i;

	for (i = 0; i < want->n; i++) {
		want->fd[i] = open("/dev/net/tun",
				   O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (want->fd[i] < 0)
			return -errno;
	}
	return 0;
}

void pasta_tun(struct pasta *p, int *fd, unsigned n)
{
	struct tuns want = { fd, n };
	int err = pasta_in_ns(p, open_tun, &want);

	if (err)
		die("Can't open /dev/net/tun: %s", util_error(-err));
}

struct first {
	int lo_err, netns;
};

static int bring_up_lo(void)
{
	struct netlink n;
	unsigned lo;
	int err;

	err = nl_open(&n);
	if (err)
		return err;
	lo = nllink_index(&n, "lo");
	err = nllink_set(&n, lo, NULL, 0, 0, true);
	if (!err) /* without, it is slower */
		(void)nllink_big_tcp(&n, lo);
	nl_close(&n);
	return err;
}

static int first_visit(void *arg)
{
	struct first *f = arg;

	f->lo_err = bring_up_lo();
	f->netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return 0;
}

/* The first visit, which shows whether we may enter at all */
static void visit(struct pasta *p)
{
	struct first f = { 0, -1 };
	int err = pasta_in_ns(p, first_visit, &f);

	if (err)
		die("Can't enter network namespace %s: %s%s",
		    p->child ? "of the command" : p->path, util_error(-err),
		    err == -EPERM && !p->child ?
			    " (one in a user namespace needs --userns)" :
			    err == -EAGAIN ? pasta_hint(-err, false) : "");
	if (f.lo_err)
		log_warn("Can't bring up lo in the namespace: %s",
			 util_error(-f.lo_err));
	/* Opened by its path, it would keep that path from being unmounted */
	if (f.netns >= 0) {
		close(p->netns);
		p->netns = f.netns;
	}
}

/* --- what tells the end --------------------------------------------------- */

/* A descriptor that tells the end of a process.  Before Linux 5.3 only SIGCHLD
 * is left, which tells about our own children. */
static int end_fd(pid_t pid, bool ours)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	sigset_t set;

	if (fd >= 0 || !ours)
		return fd;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die("Can't watch the command: %s", util_error(errno));
	return fd;
}

/* The process of a path /proc/PID/ns/net, 0: it is none; such a process's end
 * is known at once */
static pid_t process_behind(const struct pasta *p)
{
	int pid, end = 0;

	if (sscanf(p->path, "/proc/%d/ns/net%n", &pid, &end) != 1 || !end ||
	    p->path[end])
		return 0;
	return pid;
}

static const char *base_name(const struct pasta *p)
{
	const char *slash = strrchr(p->path, '/');

	return slash ? slash + 1 : p->path;
}

static long fs_type(const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) ? 0 : (long)fs.f_type;
}

/* Whether files in @dir come and go without anybody deleting them */
static bool is_virtual(const char *dir)
{
	long type = fs_type(dir);

	return !type || type == PROC_SUPER_MAGIC || type == SYSFS_MAGIC ||
	       type == DEVPTS_SUPER_MAGIC;
}

/* Whether @dir is /proc/PID/fd/ or another path to it: descriptors of a
 * process, whose numbers say nothing about the namespace */
static bool is_descriptor(const char *dir)
{
	size_t len = strlen(dir);

	return len >= 4 && !strcmp(dir + len - 4, "/fd/") &&
	       fs_type(dir) == PROC_SUPER_MAGIC;
}

/* Open the directory to look for the namespace's path in, or if that fails
 * where all paths begin */
static void open_dir(struct pasta *p, const char *dir)
{
	bool absolute = *p->path == '/';

	p->name = base_name(p);
	p->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd >= 0)
		return;
	log_warn("netns dir open: %s, looking for %s by its path",
		 util_error(errno), p->path);
	p->name = p->path + (absolute ? strspn(p->path, "/") : 0);
	p->dir_fd = open(absolute ? "/" : ".",
			 O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0)
		log_warn("Can't watch %s: %s", p->path, util_error(errno));
}

/* Open all that is needed to see the namespace go, while there are paths */
static void prepare_watch(struct pasta *p)
{
	char dir[sizeof(p->path)] = "./";

	/* With the slash, so that it works for one in the root as well */
	if (base_name(p) != p->path)
		snprintf(dir, sizeof(dir), "%.*s",
			 (int)(base_name(p) - p->path), p->path);
	if (is_descriptor(dir))
		return; /* we hold it, whatever becomes of the descriptor */
	open_dir(p, dir);
	if (process_behind(p))
		p->child_fd = end_fd(process_behind(p), false);
	if (is_virtual(dir))
		return;
	p->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (p->watch_fd >= 0 &&
	    inotify_add_watch(p->watch_fd, dir, IN_DELETE) < 0) {
		close(p->watch_fd);
		p->watch_fd = -1;
	}
}

/* --- joining ------------------------------------------------------------- */

static bool same_ns(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Whether @userns is the user namespace @owner, or one of its ancestors */
static bool is_over(int userns, int owner)
{
	int at = dup(owner), above;
	struct stat a, b;
	bool found = false;

	if (fstat(userns, &a))
		return false;
	while (at >= 0 && !found) {
		found = !fstat(at, &b) && a.st_dev == b.st_dev &&
			a.st_ino == b.st_ino;
		above = found ? -1 : ioctl(at, NS_GET_PARENT);
		close(at);
		at = above;
	}
	return found;
}

/* Check --userns: we could do without it, but the user has something in mind */
static void check_named(const struct pasta *p, const struct conf *c, int owner)
{
	int fd = open(c->userns, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		die("Can't open user namespace %s: %s", c->userns,
		    util_error(errno));
	if (!is_over(fd, owner))
		die("User namespace %s has no rights over network namespace %s",
		    c->userns, p->path);
	close(fd);
}

/* The user namespace that owns the network namespace, and so has rights over
 * it.  --userns is used only where the kernel (before 4.9) cannot tell. */
static int owner_of(const struct pasta *p, const struct conf *c)
{
	char path[PATH_LEN];
	int fd;

	fd = ioctl(p->netns, NS_GET_USERNS);
	if (fd >= 0 && c->userns[0])
		check_named(p, c, fd);
	/* Before Linux 4.9, or where a security policy does not know the
	 * call */
	if (fd < 0 && (errno == ENOTTY || errno == EACCES)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)c->pid);
		fd = open(c->userns[0] ? c->userns : path,
			  O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (fd < 0)
		die("Can't tell the user namespace to join: %s",
		    util_error(errno));
	if (same_ns(fd, "/proc/self/ns/user")) {
		close(fd);
		return -1;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	return fd;
}

static void join(struct pasta *p, const struct conf *c, bool outside)
{
	if (c->pid)
		snprintf(p->path, sizeof(p->path), "/proc/%d/ns/net",
			 (int)c->pid);
	else if (strchr(c->netns, '/'))
		snprintf(p->path, sizeof(p->path), "%s", c->netns);
	else
		snprintf(p->path, sizeof(p->path), "/run/netns/%.*s",
			 NAME_MAX, c->netns);
	p->netns = open(p->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (p->netns < 0 && errno == ENOENT && c->pid)
		die("There is no process %d", (int)c->pid);
	if (p->netns < 0)
		die("Can't open network namespace %s: %s", p->path,
		    util_error(errno));
	/* A container may have the host's network: its routes would be for us,
	 * and ours are its own */
	if (c->fd < 0 && !c->takeover[0] &&
	    same_ns(p->netns, "/proc/self/ns/net"))
		die("Network namespace %s is the one that we are in", p->path);
	if (outside && !c->netns_only)
		p->userns = owner_of(p, c);
	if (!c->no_netns_quit)
		prepare_watch(p);
}

/* --- spawning ------------------------------------------------------------ */

const char *pasta_hint(int err, bool user)
{
	switch (err) {
	case EAGAIN:
		return " (too many processes: see ulimit -u, and pids.max of "
		       "the control group)";
	case ENOSPC:
		return " (see the limits in /proc/sys/user)";
	case EPERM:
		if (!user)
			return " (without a new user namespace it takes "
			       "CAP_SYS_ADMIN)";
		return " (not in a chroot, nor where the system forbids it, as "
		       "by kernel.unprivileged_userns_clone or AppArmor)";
	default:
		return "";
	}
}

void pasta_inherit(void)
{
	struct sigaction sa;
	struct rlimit r;
	int n;

	if (!getrlimit(RLIMIT_NOFILE, &r))
		parent.nofile = r.rlim_cur;
	sigprocmask(SIG_SETMASK, NULL, &parent.blocked);
	for (n = 1; n < NSIG; n++)
		if (!sigaction(n, NULL, &sa) && sa.sa_handler == SIG_IGN)
			sigaddset(&parent.ignored, n);
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int write_proc(pid_t pid, const char *name, const char *text)
{
	char path[PATH_LEN];

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	else
		snprintf(path, sizeof(path), "/proc/self/%s", name);
	return write_text(path, text);
}

void pasta_map(pid_t pid, uid_t uid, gid_t gid)
{
	char map[PATH_LEN];
	int err;

	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	err = write_proc(pid, "uid_map", map);
	/* Without this an ordinary user may not map its group */
	if (!err)
		err = write_proc(pid, "setgroups", "deny");
	if (err == -ENOENT) /* before 3.19 there is no such file */
		err = 0;
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
	if (!err)
		err = write_proc(pid, "gid_map", map);
	if (err)
		log_warn("Can't map users into the namespace: %s",
			 util_error(-err));
}

struct command {
	const struct conf *conf;
	int wait_fd, go_fd;
};

static void wait_parent(int fd)
{
	ssize_t n;
	char b;

	do {
		n = read(fd, &b, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(EXIT_FAILURE);
}

/* Mount a /proc of the new PID namespace.  Where parts of the old one are
 * covered, as in containers, this is not permitted, and the old one stays.
 * With a user namespace mounts do not propagate back, even if a policy does not
 * let us make them slaves.  The source is empty because of the same policy,
 * Debian's. */
static void mount_proc(const struct conf *c, bool slave)
{
	if ((!slave && c->netns_only) ||
	    mount("", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		log_debug("Can't mount a new /proc: %s", util_error(errno));
}

/* Cover the sockets by which libc has names resolved by other processes, whose
 * answers we do not read, so that it asks by DNS.  A file that is no socket
 * refuses connections. */
static void cover_resolvers(const struct conf *c, bool slave)
{
	static const char *const path[] = {
		"/run/systemd/resolve/io.systemd.Resolve",
		"/run/nscd/socket",
		"/var/run/nscd/socket", /* where that is no link */
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(path); i++) {
		if (access(path[i], F_OK))
			continue;
		if ((!slave && c->netns_only) ||
		    mount("/dev/null", path[i], NULL, MS_BIND, NULL))
			log_warn("--allow-out: names for which the command asks "
				 "%s stand for nothing, as it can't be "
				 "covered: %s",
				 path[i], util_error(errno));
	}
}

static void name_host(const struct conf *c)
{
	char host[HOST_NAME_MAX + 1] = "", name[HOST_NAME_MAX + 1];

	if (c->lan.hostname[0]) {
		snprintf(name, sizeof(name), "%.*s", HOST_NAME_MAX,
			 c->lan.hostname);
	} else {
		(void)gethostname(host, sizeof(host) - 1);
		snprintf(name, sizeof(name), "pasta-%.*s", HOST_NAME_MAX - 6,
			 host);
	}
	if (sethostname(name, strlen(name)))
		log_debug("Can't set the host name: %s", util_error(errno));
}

static void furnish(const struct conf *c)
{
	bool names = egress_names(&c->egress);
	bool slave = (names || !c->no_pidns) &&
		     !mount("", "/", NULL, MS_REC | MS_SLAVE, NULL);
	int err;

	if (!c->no_pidns)
		mount_proc(c, slave);
	if (names)
		cover_resolvers(c, slave);
	name_host(c);
	err = write_text("/proc/sys/net/ipv4/ping_group_range", "0 0");
	/* If users could not be mapped, which was logged, there is no group
	 * 0 */
	if (err && err != -EINVAL)
		log_warn("Can't set ping_group_range in the namespace: %s",
			 util_error(-err));
}

/* Why execvp() has failed.  If a directory of PATH is not accessible, as root's
 * are not to nobody, it says EACCES even for a name that is in none of them. */
static int exec_error(const char *name, int err)
{
	const char *dir = getenv("PATH"), *end;
	char path[PATH_MAX];

	if (err != EACCES || strchr(name, '/') || !dir)
		return err;
	for (;; dir = end + 1) {
		end = strchrnul(dir, ':');
		snprintf(path, sizeof(path), "%.*s%s%s", (int)(end - dir), dir,
			 end > dir ? "/" : "", name);
		if (!access(path, F_OK))
			return EACCES;
		if (!*end)
			return ENOENT;
	}
}

static _Noreturn void run_command(const struct conf *c)
{
	const char *shell = getenv("SHELL"), *name;
	char login[PATH_MAX], *login_argv[] = { login, NULL };
	int err;

	if (!shell || !shell[0])
		shell = "/bin/sh";
	snprintf(login, sizeof(login), "-%s", shell);
	name = c->argv ? c->argv[0] : shell;
	execvp(name, c->argv ? c->argv : login_argv);
	err = exec_error(name, errno);
	log_err("Can't run %s: %s", name, util_error(err));
	_exit(err == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* Undo for the command what we have changed; our descriptors close
 * themselves */
static void clean_up(void)
{
	struct rlimit r;
	int n;

	if (parent.nofile && !getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = parent.nofile;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	for (n = 1; n < NSIG; n++)
		signal(n, sigismember(&parent.ignored, n) == 1 ? SIG_IGN :
								 SIG_DFL);
	sigprocmask(SIG_SETMASK, &parent.blocked, NULL);
}

static int be_command(void *arg)
{
	const struct command *cmd = arg;

	/* Not reset by execve(), which adds no capabilities: we have all */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(cmd->go_fd);
	wait_parent(cmd->wait_fd);
	furnish(cmd->conf);
	wait_parent(cmd->wait_fd);
	clean_up();
	run_command(cmd->conf);
}

static void signal_command(struct pasta *p)
{
	if (write(p->go_fd, "", 1) < 0)
		log_debug("The command is gone: %s", util_error(errno));
}

static int open_proc(pid_t pid, const char *name)
{
	char path[PATH_LEN];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die("Can't open %s: %s", path, util_error(errno));
	return fd;
}

/* Signals that the terminal sends to both of us; stopping needs pidfds */
static void terminal_signals(const struct pasta *p, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	if (p->self_fd < 0)
		return;
	sigaddset(set, SIGTSTP);
	sigaddset(set, SIGTTIN);
	sigaddset(set, SIGTTOU);
}

static void block_signals(const struct pasta *p)
{
	sigset_t set;

	terminal_signals(p, &set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void spawn(struct pasta *p, const struct conf *c, bool new_user)
{
	int flags = CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWNS |
		    (c->no_pidns ? 0 : CLONE_NEWPID) |
		    (new_user ? CLONE_NEWUSER : 0);
	struct command cmd = { .conf = c };
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		die("Can't make a pipe: %s", util_error(errno));
	cmd.wait_fd = ends[0];
	cmd.go_fd = ends[1];
	/* Before it can end */
	p->self_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	block_signals(p);
	/* After a change of user its /proc would be root's */
	prctl(PR_SET_DUMPABLE, 1);
	p->child = clone(be_command, stack + STACK, flags | SIGCHLD, &cmd);
	if (p->child < 0)
		die("Can't make namespaces for the command: %s%s",
		    util_error(errno), pasta_hint(errno, new_user));
	close(ends[0]);
	p->go_fd = ends[1];
	p->child_fd = end_fd(p->child, true);
	if (new_user) {
		pasta_map(p->child, geteuid(), getegid());
		p->userns = open_proc(p->child, "ns/user");
	}
	p->netns = open_proc(p->child, "ns/net");
	p->status_fd = open_proc(p->child, "status");
	signal_command(p);
}

void pasta_open(struct pasta *p, const struct conf *c, bool outside)
{
	*p = (struct pasta){
		.netns = -1,
		.userns = -1,
		.child_fd = -1,
		.self_fd = -1,
		.status_fd = -1,
		.go_fd = -1,
		.watch_fd = -1,
		.dir_fd = -1,
	};
	if (c->spawn)
		spawn(p, c, outside && !c->netns_only);
	else
		join(p, c, outside);
	visit(p);
}

void pasta_go(struct pasta *p)
{
	if (p->go_fd < 0)
		return;
	if (log_max < LOG_DBG)
		log_stderr(false);
	signal_command(p);
	close(p->go_fd);
	p->go_fd = -1;
}

/* --- the end ------------------------------------------------------------- */

/* What the command has sent may still be under way */
static void over(struct pasta *p, int status)
{
	if (p->ended)
		return;
	p->ended = true;
	if (p->child_fd >= 0)
		loop_del(p->loop, p->child_fd);
	loop_leave(p->loop, status, false);
}

static void on_command_end(void *owner, uint64_t ref, uint32_t events)
{
	struct pasta *p = owner;
	struct signalfd_siginfo drop;
	siginfo_t si = { 0 };

	(void)ref;
	(void)events;
	/* #syscalls:pasta waitid read */
	if (waitid(P_PID, (id_t)p->child, &si, WEXITED | WNOHANG)) {
		/* Somebody else has got its status.  Not to end would be
		 * worse. */
		if (errno == ECHILD)
			over(p, EXIT_FAILURE);
	} else if (si.si_pid == p->child) {
		over(p, si.si_code == CLD_EXITED ? si.si_status :
						   128 + si.si_status);
	} else {
		(void)!read(p->child_fd, &drop, sizeof(drop));
	}
}

/* How the command handles signals */
struct manners {
	unsigned long long blocked, ignored, caught;
};

static struct manners manners_of(const struct pasta *p)
{
	struct manners m = { ~0ULL, 0, 0 };
	const char *at;
	char text[4096];
	ssize_t n;

	/* #syscalls:pasta pread64 */
	n = pread(p->status_fd, text, sizeof(text) - 1, 0);
	text[MAX(n, 0)] = '\0';
	at = strstr(text, "SigBlk:");
	if (at)
		(void)!sscanf(at, "SigBlk: %llx SigIgn: %llx SigCgt: %llx",
			      &m.blocked, &m.ignored, &m.caught);
	return m;
}

static bool has(unsigned long long set, unsigned number)
{
	return set >> (number - 1) & 1;
}

/* Whether the command leaves this signal to the kernel */
static bool is_deaf(const struct pasta *p, unsigned number)
{
	struct manners m = manners_of(p);

	return !has(m.blocked | m.ignored | m.caught, number);
}

static void send(int pidfd, unsigned number)
{
	/* Not kill(): the filter would let us end anybody.  Where @pidfd is none,
	 * before 5.3, this fails.
	 * #syscalls:pasta pidfd_send_signal */
	(void)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

/* Stop both, as the kernel would do with a command that is not the first
 * process of a namespace.  We do not send ourselves SIGSTOP: where no shell
 * could continue us, the kernel lets nobody stop by the terminal's signal. */
static void stop_both(struct pasta *p)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, (int)p->signal);
	send(p->child_fd, SIGSTOP);
	send(p->self_fd, p->signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	/* Somebody has us go on */
	sigprocmask(SIG_BLOCK, &set, NULL);
	send(p->child_fd, SIGCONT);
}

static bool is_interrupt(unsigned number)
{
	return number == SIGINT || number == SIGHUP;
}

static void speak_up(void *owner, struct timer *t)
{
	struct pasta *p = owner;

	(void)t;
	if (!is_deaf(p, p->signal))
		return;
	if (is_interrupt(p->signal))
		loop_leave(p->loop, (int)(128 + p->signal), true);
	else
		stop_both(p);
}

/* A signal from the terminal, which is for the command.  As that is the first
 * process of its PID namespace, the kernel keeps signals from it that it has no
 * handler for: then we end or stop both.  Not at once: a command that was told
 * to end may just have removed its handlers, and one that was told to stop does
 * so. */
static void on_terminal(void *owner, uint64_t ref, uint32_t events)
{
	struct signalfd_siginfo si;
	struct pasta *p = owner;
	struct manners m;

	(void)ref;
	(void)events;
	if (read(p->terminal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (p->ended) {
		loop_leave(p->loop, p->loop->status, true);
		return;
	}
	m = manners_of(p);
	if (has(m.ignored, si.ssi_signo) ||
	    (is_interrupt(si.ssi_signo) && has(m.caught, si.ssi_signo)))
		return;
	p->signal = si.ssi_signo;
	timer_set(&p->loop->timers, &p->poll, p->loop->now_ms +
		  (is_interrupt(p->signal) || has(m.caught, p->signal) ?
			   GRACE_MS : 0));
}

static int watch_terminal(struct pasta *p)
{
	sigset_t set;

	timer_init(&p->poll, speak_up, p);
	terminal_signals(p, &set);
	p->terminal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->terminal_fd < 0)
		return -errno;
	return loop_add(p->loop, p->terminal_fd,
			loop_watch(p->loop, on_terminal, p), 0, EPOLLIN);
}

static void leave(struct pasta *p)
{
	log_info("Namespace %s is gone, exiting", p->path);
	over(p, EXIT_SUCCESS);
}

static void on_process_end(void *owner, uint64_t ref, uint32_t events)
{
	(void)ref;
	(void)events;
	leave(owner);
}

/* That we may not look does not mean that it has gone */
static bool is_gone(struct pasta *p)
{
	/* #syscalls:pasta openat(.,.,!O_WRONLY+O_RDWR+O_CREAT+O_TRUNC) */
	int fd = openat(p->dir_fd, p->name, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ESRCH || errno == ENOTDIR;
	close(fd);
	return false;
}

static void look(void *owner, struct timer *t)
{
	struct pasta *p = owner;

	if (is_gone(p))
		leave(p);
	else if (p->watch_fd < 0)
		timer_set(&p->loop->timers, t, p->loop->now_ms + POLL_MS);
}

/* Several events may come at once, with names of any length */
static void on_delete(void *owner, uint64_t ref, uint32_t events)
{
	uint8_t buf[4096] __attribute__((aligned(8)));
	struct pasta *p = owner;
	ssize_t len, at, step;

	(void)ref;
	(void)events;
	while ((len = read(p->watch_fd, buf, sizeof(buf))) > 0) {
		for (at = 0; at < len; at += step) {
			const struct inotify_event *e = (void *)(buf + at);

			step = (ssize_t)(sizeof(*e) + e->len);
			if (e->len && !strcmp(e->name, base_name(p))) {
				leave(p);
				return;
			}
		}
	}
}

int pasta_watch(struct pasta *p, struct loop *l, const struct conf *c)
{
	watch_fn *fn = p->child ? on_command_end : on_process_end;
	int err = 0;

	p->loop = l;
	if (!p->child && c->no_netns_quit)
		return 0;
	if (p->child)
		err = watch_terminal(p);
	if (err)
		return err;
	if (p->child_fd >= 0)
		err = loop_add(l, p->child_fd, loop_watch(l, fn, p), 0,
			       EPOLLIN);
	/* If a process's end is watched, that is enough; otherwise a path has
	 * to be looked at */
	if (err || p->child_fd >= 0 || p->dir_fd < 0)
		return err;
	timer_init(&p->poll, look, p);
	timer_set(&l->timers, &p->poll, l->now_ms + POLL_MS);
	if (p->watch_fd < 0)
		return 0;
	/* The timer looks once more for what went before the watch began */
	return loop_add(l, p->watch_fd, loop_watch(l, on_delete, p), 0,
			EPOLLIN);
}

void pasta_end(struct pasta *p)
{
	if (p->child)
		send(p->child_fd, SIGKILL);
}
