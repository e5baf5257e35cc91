/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_mem - the guest's memory, as the front-end hands it over
 */
#include "vhost_mem.h"

#include "util.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* --- a file that has become shorter --------------------------------------- */

/* Whose memory a fault may be about: the handler has nobody to ask */
static struct vhost_mem *guarded;

/* What was there reads as zeroes, so that whoever is looking at it can end what
 * he is doing */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	uint8_t *at = info->si_addr;
	unsigned i;

	(void)sig;
	(void)context;
	for (i = 0; i < guarded->n; i++) {
		struct vhost_mapped *r = &guarded->r[i];
		uint8_t *map = r->map;

		if (at < map || (size_t)(at - map) >= r->map_len)
			continue;
		guarded->torn = 1;
		/* On s390x the arguments are in memory.
		 * #syscalls:vu mmap(.,.,PROT_READ+PROT_WRITE) rt_sigreturn
		 * #syscalls:vu mmap2(.,.,PROT_READ+PROT_WRITE) sigreturn
		 * #syscalls:vu s390x:mmap */
		if (mmap(map, r->map_len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				 MAP_NORESERVE,
			 -1, 0) == map)
			return;
	}
	__builtin_trap();
}

int vhost_mem_guard(struct vhost_mem *m)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO };

	guarded = m;
	return sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}

/* --- regions -------------------------------------------------------------- */

/* From the file's start: huge pages would not let us begin anywhere */
int vhost_mem_add(struct vhost_mem *m, const struct vhost_region *from, int fd)
{
	struct vhost_mapped *r = &m->r[m->n];
	uint64_t end = from->offset + from->size, page;
	struct util_stat st;
	int err;

	if (m->n == VHOST_REGIONS)
		return -ENOSPC;
	if (!from->size || end < from->size || end > SIZE_MAX ||
	    from->gpa + from->size < from->size ||
	    from->uva + from->size < from->size)
		return -EINVAL;
	/* What is not there would be a fault later */
	err = util_fstat(fd, &st);
	if (err)
		return err;
	if (S_ISREG(st.mode) && st.size < end)
		return -EINVAL;
	/* munmap() of huge pages wants all of the last one */
	page = MAX(st.block, 1U);
	end = (end + page - 1) / page * page;
	/* #syscalls:vu mmap(.,.,PROT_READ+PROT_WRITE)
	 * #syscalls:vu mmap2(.,.,PROT_READ+PROT_WRITE) */
	r->map = mmap(NULL, (size_t)end, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (r->map == MAP_FAILED)
		return -errno;
	r->map_len = (size_t)end;
	r->at = (uint8_t *)r->map + from->offset;
	r->gpa = from->gpa;
	r->uva = from->uva;
	r->len = from->size;
	m->n++;
	return 0;
}

static void unmap(struct vhost_mapped *r)
{
	munmap(r->map, r->map_len); /* #syscalls:vu munmap */
}

int vhost_mem_del(struct vhost_mem *m, const struct vhost_region *gone)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (m->r[i].gpa == gone->gpa && m->r[i].uva == gone->uva &&
		    m->r[i].len == gone->size)
			break;
	if (i == m->n)
		return -ENOENT;
	unmap(&m->r[i]);
	m->r[i] = m->r[--m->n];
	return 0;
}

void vhost_mem_clear(struct vhost_mem *m)
{
	while (m->n)
		unmap(&m->r[--m->n]);
}

/* --- addresses ------------------------------------------------------------ */

static void *in_region(const struct vhost_mapped *r, uint64_t off, uint64_t len)
{
	return off < r->len && len <= r->len - off ? r->at + off : NULL;
}

void *vhost_mem_find(const struct vhost_mem *m, uint64_t gpa, uint64_t len)
{
	void *at;
	unsigned i;

	for (i = 0; i < m->n; i++) {
		at = in_region(&m->r[i], gpa - m->r[i].gpa, len);
		if (at)
			return at;
	}
	return NULL;
}

void *vhost_mem_find_user(const struct vhost_mem *m, uint64_t uva, uint64_t len)
{
	void *at;
	unsigned i;

	for (i = 0; i < m->n; i++) {
		at = in_region(&m->r[i], uva - m->r[i].uva, len);
		if (at)
			return at;
	}
	return NULL;
}
