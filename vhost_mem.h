/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_mem - the guest's memory, as the front-end hands it over
 *
 * The memory consists of regions of files, which are mapped.  The guest may
 * write there at any time, and the front-end may truncate a file.  While it
 * migrates the guest, the front-end has a log, in a file as well, of what we
 * write to.
 */
#ifndef VHOST_MEM_H
#define VHOST_MEM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VHOST_REGIONS = 64 };

/* A region as the front-end describes it */
struct vhost_region {
	uint64_t gpa, size; /* guest physical address */
	uint64_t uva;       /* the front-end's address */
	uint64_t offset;    /* in the file */
};

/* A mapping of a file, from its start and in whole pages */
struct vhost_map {
	void *all;
	size_t len;
};

struct vhost_mapped {
	uint64_t gpa, len, uva;
	uint8_t *at; /* our address */
	int fd;	     /* the file, for a successor */
	struct vhost_map map;
};

/* A log of dirty pages, for a front-end that migrates the guest while it runs:
 * a bit for each page, which the front-end reads and clears at any time */
struct vhost_log {
	uint8_t *bits; /* NULL: there is none */
	uint64_t pages; /* pages that it has bits for, from guest address 0
			   on */
	bool marked;    /* bits were set since the front-end was told */
	struct vhost_map map;
};

struct vhost_mem {
	unsigned n;
	struct vhost_mapped r[VHOST_REGIONS];
	struct vhost_log log;
	volatile sig_atomic_t torn; /* a file was truncated, see
				       vhost_mem_guard() */
};

/* vhost_mem_add - map region @r of file @fd
 * On success @fd is @m's.  Returns 0, -EINVAL for a region that cannot be,
 * -ENOSPC if there are too many, or another -errno. */
int vhost_mem_add(struct vhost_mem *m, const struct vhost_region *r, int fd);

/* vhost_mem_del - unmap the region equal to @r and close its file; 0 or
 * -ENOENT */
int vhost_mem_del(struct vhost_mem *m, const struct vhost_region *r);

/* vhost_mem_clear - unmap all regions; the log stays */
void vhost_mem_clear(struct vhost_mem *m);

/* vhost_mem_find, vhost_mem_find_user - our address of the @len bytes at guest
 * address @gpa, or at the front-end's @uva
 * NULL unless they lie within one region. */
void *vhost_mem_find(const struct vhost_mem *m, uint64_t gpa, uint64_t len);
void *vhost_mem_find_user(const struct vhost_mem *m, uint64_t uva,
			  uint64_t len);

/* vhost_mem_gpa - the guest's address of our address @at; UINT64_MAX if it is
 * in no region */
uint64_t vhost_mem_gpa(const struct vhost_mem *m, const void *at);

/* vhost_log_set - make the @size bytes at @offset of @fd the log of @m; @fd
 * stays the caller's
 * Returns 0, or -errno, for example if they do not cover @m; then the former
 * log stays.
 * vhost_log_clear - unmap the log; there is none then */
int vhost_log_set(struct vhost_mem *m, int fd, uint64_t size, uint64_t offset);
void vhost_log_clear(struct vhost_log *l);

/* vhost_log_covers - whether @l has a bit for each page of @m */
bool vhost_log_covers(const struct vhost_log *l, const struct vhost_mem *m);

/* vhost_log_mark - set the bits of the @len bytes at @gpa, which were written
 * To be called after the write: before it, the front-end might copy the page
 * too early. */
void vhost_log_mark(struct vhost_log *l, uint64_t gpa, uint64_t len);

/* vhost_mem_guard - survive truncation of a file by the front-end, which makes
 * access to it a SIGBUS
 * That memory then reads as zeroes, and @m->torn is set: stop using it.  Only
 * one @m in a process can be guarded.  Returns 0 or -errno. */
int vhost_mem_guard(struct vhost_mem *m);

#endif /* VHOST_MEM_H */
