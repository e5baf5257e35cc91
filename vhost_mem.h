/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_mem - the guest's memory, as the front-end hands it over
 *
 * Regions of files, mapped.  The guest may write there at any time, and the
 * front-end may take a file away.
 */
#ifndef VHOST_MEM_H
#define VHOST_MEM_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

enum { VHOST_REGIONS = 64 };

/* As the front-end describes it */
struct vhost_region {
	uint64_t gpa, size; /* guest physical address */
	uint64_t uva;       /* where the front-end has it */
	uint64_t offset;    /* in its file */
};

struct vhost_mapped {
	uint64_t gpa, len, uva;
	uint8_t *at; /* where we have it */
	void *map;   /* with what had to be mapped around it */
	size_t map_len;
};

struct vhost_mem {
	unsigned n;
	struct vhost_mapped r[VHOST_REGIONS];
	volatile sig_atomic_t torn; /* a file has become shorter */
};

/* vhost_mem_add - map @size bytes of @fd, which stays the caller's
 * 0, -EINVAL for what there can't be, -ENOSPC or another -errno. */
int vhost_mem_add(struct vhost_mem *m, const struct vhost_region *r, int fd);

/* vhost_mem_del - unmap the one like @r; 0 or -ENOENT */
int vhost_mem_del(struct vhost_mem *m, const struct vhost_region *r);

/* vhost_mem_clear - unmap all */
void vhost_mem_clear(struct vhost_mem *m);

/* vhost_mem_find - our address of @len bytes at guest address @gpa or at @uva
 * NULL unless they lie in one region. */
void *vhost_mem_find(const struct vhost_mem *m, uint64_t gpa, uint64_t len);
void *vhost_mem_find_user(const struct vhost_mem *m, uint64_t uva,
			  uint64_t len);

/* vhost_mem_guard - outlive that the front-end truncates a file
 * From now on such memory reads as zeroes and @m->torn is set: then stop.  For
 * one @m of a process, as SIGBUS is.  0 or -errno. */
int vhost_mem_guard(struct vhost_mem *m);

#endif /* VHOST_MEM_H */
