/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_mem - the guest's memory, as the front-end hands it over
 *
 * Regions of files, mapped.  The guest may write there at any time, and the
 * front-end may take a file away.  While it migrates the guest, it has a log of
 * what we write, in a file again.
 */
#ifndef VHOST_MEM_H
#define VHOST_MEM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VHOST_REGIONS = 64 };

/* As the front-end describes it */
struct vhost_region {
	uint64_t gpa, size; /* guest physical address */
	uint64_t uva;       /* where the front-end has it */
	uint64_t offset;    /* in its file */
};

/* What is asked for of a file, and what had to be mapped around it */
struct vhost_map {
	void *all;
	size_t len;
};

struct vhost_mapped {
	uint64_t gpa, len, uva;
	uint8_t *at; /* where we have it */
	int fd;	     /* of its file, for a successor */
	struct vhost_map map;
};

/* Which pages have been written to, for a front-end that migrates the guest while
 * it runs: a bit for each, which it reads and clears any time */
struct vhost_log {
	uint8_t *bits; /* NULL: there is none */
	uint64_t pages; /* from guest address 0 on */
	bool marked;    /* since the front-end was told */
	struct vhost_map map;
};

struct vhost_mem {
	unsigned n;
	struct vhost_mapped r[VHOST_REGIONS];
	struct vhost_log log;
	volatile sig_atomic_t torn; /* a file has become shorter */
};

/* vhost_mem_add - map @size bytes of @fd, which is @m's from then on
 * Stays the caller's if that fails.  0, -EINVAL for what there can't be, -ENOSPC or another -errno. */
int vhost_mem_add(struct vhost_mem *m, const struct vhost_region *r, int fd);

/* vhost_mem_del - unmap the one like @r; 0 or -ENOENT */
int vhost_mem_del(struct vhost_mem *m, const struct vhost_region *r);

/* vhost_mem_clear - unmap all of them; the log stays */
void vhost_mem_clear(struct vhost_mem *m);

/* vhost_mem_find - our address of @len bytes at guest address @gpa or at @uva
 * NULL unless they lie in one region. */
void *vhost_mem_find(const struct vhost_mem *m, uint64_t gpa, uint64_t len);
void *vhost_mem_find_user(const struct vhost_mem *m, uint64_t uva,
			  uint64_t len);

/* vhost_mem_gpa - the guest's address of @at, which is ours */
uint64_t vhost_mem_gpa(const struct vhost_mem *m, const void *at);

/* vhost_log_set - @m's log is @size bytes at @offset of @fd, which stays the
 * caller's; what was the log is it no longer
 * 0, or -errno, among others for one that does not cover @m: then that stays.
 * vhost_log_clear - there is no log */
int vhost_log_set(struct vhost_mem *m, int fd, uint64_t size, uint64_t offset);
void vhost_log_clear(struct vhost_log *l);

/* vhost_log_covers - whether it has a bit for each page of @m */
bool vhost_log_covers(const struct vhost_log *l, const struct vhost_mem *m);

/* vhost_log_mark - @len bytes at @gpa have been written to
 * To be called behind the write: the front-end may copy the page in between. */
void vhost_log_mark(struct vhost_log *l, uint64_t gpa, uint64_t len);

/* vhost_mem_guard - outlive that the front-end truncates a file
 * From now on such memory reads as zeroes and @m->torn is set: then stop.  For
 * one @m of a process, as SIGBUS is.  0 or -errno. */
int vhost_mem_guard(struct vhost_mem *m);

#endif /* VHOST_MEM_H */
