/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * resolv - follows the host's resolv.conf while we run
 *
 * The file is mostly replaced by renaming another one, and often is a symbolic
 * link: so the directories are watched, that of the file and those of the
 * links' targets.  In the sandbox no path leads there and mounts are
 * unreachable from each other, but a file in a directory that is held open can
 * still be opened.  A link that leads to any other directory cannot be followed
 * then, and what we know stays.
 *
 * Container engines mount a file over resolv.conf.  It cannot be replaced, only
 * written, and through its directory one would see the file below the mount: so
 * that file is held open.
 */
#include "resolv.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
	SETTLE_MS = 100, /* a change may take several steps */
	POLL_MS = 10000, /* without inotify, whose instances are limited */
	WATCHED = IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO,
};

/* --- finding the file ----------------------------------------------------- */

/* The path to which symbolic link @link in directory @dir leads, by text alone,
 * as in the sandbox paths can't be looked up.  False: it is too long, or the
 * root. */
static bool join(char out[RESOLV_PATH], const char *dir, const char *link)
{
	size_t len = *link == '/' ? 0 : strlen(dir), n;

	memmove(out, dir, len);
	if (len == 1)
		len = 0; /* the root */
	for (; *link; link += n) {
		link += strspn(link, "/");
		n = strcspn(link, "/");
		if (n == 2 && !memcmp(link, "..", 2)) {
			while (len && out[--len] != '/')
				;
			continue;
		}
		if (!n || (n == 1 && *link == '.'))
			continue;
		if (len + n + 2 > RESOLV_PATH)
			return false;
		out[len++] = '/';
		memcpy(out + len, link, n);
		len += n;
	}
	out[len] = '\0';
	return len;
}

static int add_dir(struct resolv *r, const char *path)
{
	unsigned i = r->dirs;
	int fd;

	if (i == RESOLV_DIRS)
		return -1;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	r->dir[i].fd = fd;
	r->dir[i].watch = -1;
	if (r->notify >= 0)
		r->dir[i].watch = inotify_add_watch(r->notify, path, WATCHED);
	strcpy(r->dir[i].path, path);
	return (int)r->dirs++;
}

static int find_dir(struct resolv *r, const char *path, bool add)
{
	unsigned i;

	for (i = 0; i < r->dirs; i++)
		if (!strcmp(r->dir[i].path, path))
			return (int)i;
	return add ? add_dir(r, path) : -1;
}

/* Follow links to the file and open it: returns the descriptor or -errno.  With
 * @add directories on the way are opened and watched, else only known ones are
 * used. */
static int open_file(struct resolv *r, bool add)
{
	char path[RESOLV_PATH], dir[RESOLV_PATH], link[RESOLV_PATH];

	r->hops = 0;
	if (strlen(r->path) >= sizeof(path))
		return -ENAMETOOLONG;
	strcpy(path, r->path);
	while (r->hops < RESOLV_HOPS) {
		const char *name = strrchr(path, '/') + 1;
		ssize_t n;
		int i, fd;

		snprintf(dir, sizeof(dir), "%.*s",
			 (int)MAX(name - path - 1, 1), path);
		i = find_dir(r, dir, add);
		if (i < 0)
			return -EXDEV;
		strcpy(r->hop[r->hops].name, name);
		r->hop[r->hops++].dir = (unsigned)i;
		/* #syscalls openat(.,.,!O_WRONLY+O_RDWR+O_CREAT+O_TRUNC) */
		fd = openat(r->dir[i].fd, name, O_RDONLY | O_NOFOLLOW |
			    O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 || errno != ELOOP)
			return fd < 0 ? -errno : fd;
		/* #syscalls readlinkat */
		n = readlinkat(r->dir[i].fd, name, link, sizeof(link) - 1);
		if (n < 0)
			return -errno;
		link[n] = '\0';
		if (!join(path, dir, link))
			return -ENAMETOOLONG;
	}
	return -ELOOP;
}

/* --- changes --------------------------------------------------------------- */

/* Log the resolvers and report them as an event: a list separated by blanks,
 * IPv4 first */
static void tell(const struct resolv *r, const struct resolvconf *rc)
{
	char list[2 * LAN_DNS * ADDR_TEXT_LEN] = "", text[ADDR_TEXT_LEN];
	size_t len = 0;
	unsigned i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < rc->n[i]; k++)
			len += (size_t)snprintf(list + len, sizeof(list) - len,
						"%s%s", len ? " " : "",
						addr_text(&rc->ns[i][k], text));
	events_tell(r->events, LOG_INFORM, "resolvers",
		    "Resolvers have changed: %s", len ? list : "none");
	events_text(r->events, "resolvers", list);
}

static void apply(struct resolv *r, const struct resolvconf *rc)
{
	struct plan was;

	plan_resolvers(&r->renew->host, rc);
	if (renew_plan(r->renew, &was))
		tell(r, rc);
}

static void look(void *owner, struct timer *timer)
{
	struct resolv *r = owner;
	struct resolvconf rc;
	int fd = r->file, err;

	if (r->notify < 0)
		timer_set(&r->loop->timers, timer, r->loop->now_ms + POLL_MS);
	if (fd < 0)
		fd = open_file(r, false);
	if (fd == -EXDEV)
		log_limited(LOG_WARN, "%s leads out of the sandbox, not read",
			    r->path);
	/* A security module such as AppArmor may refuse in the sandbox what it
	 * allowed before */
	if ((fd == -EACCES || fd == -EPERM) && !r->refused)
		log_warn("%s can't be read again (%s), going on with what it "
			 "said", r->path, util_error(-fd));
	r->refused = fd == -EACCES || fd == -EPERM;
	if (fd < 0) /* the file may come back */
		return;
	err = resolvconf_read(&rc, fd);
	if (fd != r->file)
		close(fd); /* #syscalls close */
	if (!err)
		apply(r, &rc);
}

static bool concerns(const struct resolv *r, const struct inotify_event *e)
{
	unsigned i;

	if (e->mask & IN_Q_OVERFLOW || e->wd == r->file_watch)
		return true;
	for (i = 0; i < r->hops; i++)
		if (e->wd == r->dir[r->hop[i].dir].watch && e->len &&
		    !strcmp(e->name, r->hop[i].name))
			return true;
	return false;
}

static void on_change(void *owner, uint64_t ref, uint32_t events)
{
	char buf[4096] __attribute__((aligned(8)));
	struct resolv *r = owner;
	ssize_t len, at, step;

	(void)ref;
	(void)events;
	/* #syscalls read */
	while ((len = read(r->notify, buf, sizeof(buf))) > 0) {
		for (at = 0; at < len; at += step) {
			const struct inotify_event *e = (void *)(buf + at);

			step = (ssize_t)(sizeof(*e) + e->len);
			if (concerns(r, e) && !r->timer.due_ms)
				timer_set(&r->loop->timers, &r->timer,
					  r->loop->now_ms + SETTLE_MS);
		}
	}
}

/* --- start ------------------------------------------------------------------ */

static bool wanted(const struct conf *c, const struct fwd_dns *d)
{
	if (c->splice_only)
		return false;
	if (!addr_is_none(&d->match[0]) || !addr_is_none(&d->match[1]))
		return true;
	if (egress_asks(&c->egress))
		return true;
	return (c->dhcp_dns && !c->dns_none &&
		!(c->dns_given[0] && c->dns_given[1])) ||
	       (c->dhcp_search && !c->search_given);
}

/* The ID of the mount that @fd is on, 0: not known */
static unsigned long mount_id(int fd)
{
	char path[64], text[512];
	const char *s;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (util_read_file(path, text, sizeof(text)) < 0)
		return 0;
	s = strstr(text, "mnt_id:");
	return s ? strtoul(s + strlen("mnt_id:"), NULL, 10) : 0;
}

static void hold(struct resolv *r, int fd)
{
	const char *name = r->hop[r->hops - 1].name;
	unsigned dir = r->hop[r->hops - 1].dir;
	char path[2 * RESOLV_PATH];

	if (mount_id(fd) == mount_id(r->dir[dir].fd)) {
		close(fd);
		return;
	}
	r->file = fd;
	if (r->notify < 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", r->dir[dir].path, name);
	r->file_watch = inotify_add_watch(r->notify, path, IN_CLOSE_WRITE);
}

void resolv_open(struct resolv *r, struct loop *l, struct renew *renew,
		 const char *path)
{
	int fd;

	*r = (struct resolv){ .loop = l, .renew = renew, .path = path,
			      .notify = -1, .file = -1, .file_watch = -1 };
	timer_init(&r->timer, look, r);
	if (!wanted(renew->conf, &renew->plan.map.dns))
		return;
	r->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (r->notify >= 0 &&
	    loop_add(l, r->notify, loop_watch(l, on_change, r), 0, EPOLLIN)) {
		close(r->notify);
		r->notify = -1;
	}
	fd = open_file(r, true);
	if (fd >= 0)
		hold(r, fd);
	if (r->notify >= 0 && r->dirs && r->dir[0].watch < 0 &&
	    r->file_watch < 0) {
		close(r->notify);
		r->notify = -1;
	}
	/* Read the file once more, for what changed between the first plan and
	 * the watch */
	if (r->dirs)
		timer_set(&l->timers, &r->timer, l->now_ms + SETTLE_MS);
}
