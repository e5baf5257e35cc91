/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_mem - the guest's memory, as the front-end hands it over
 */
#include "vhost_mem.h"

#include "log.h"
#include "util.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a file that has become shorter --------------------------------------- */

/* The memory that a fault may be about: the signal handler cannot ask for it */
static struct vhost_mem *guarded;

static bool is_in(const struct vhost_map *m, const void *at)
{
	return (size_t)((const uint8_t *)at - (const uint8_t *)m->all) < m->len;
}

static const struct vhost_map *map_with(const struct vhost_mem *m,
					const void *at)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (is_in(&m->r[i].map, at))
			return &m->r[i].map;
	return is_in(&m->log.map, at) ? &m->log.map : NULL;
}

/* SIGBUS: the memory of a truncated file.  Map zeroes there, so that whoever is
 * reading it can finish. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
	const struct vhost_map *m = map_with(guarded, info->si_addr);

	(void)sig;
	(void)context;
	guarded->torn = 1;
	/* On s390x the arguments are in memory.
	 * #syscalls:vu mmap(.,.,PROT_READ+PROT_WRITE) rt_sigreturn
	 * #syscalls:vu mmap2(.,.,PROT_READ+PROT_WRITE) sigreturn
	 * #syscalls:vu s390x:mmap */
	if (!m || mmap(m->all, m->len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
		       -1, 0) != m->all)
		__builtin_trap();
}

int vhost_mem_guard(struct vhost_mem *m)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO };

	guarded = m;
	return sigaction(SIGBUS, &sa, NULL) ? -errno : 0;
}

/* --- files ---------------------------------------------------------------- */

/* Map @size bytes at @offset of @fd; from the file's start, as huge pages
 * cannot be mapped from just anywhere */
static int map_file(struct vhost_map *m, int fd, uint64_t size, uint64_t offset)
{
	uint64_t end = offset + size, page;
	struct util_stat st;
	void *all;
	int err;

	if (!size || end < size || end > SIZE_MAX)
		return -EINVAL;
	/* Bytes that do not exist would be a fault later */
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
	all = mmap(NULL, (size_t)end, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (all == MAP_FAILED)
		return -errno;
	*m = (struct vhost_map){ all, (size_t)end };
	return 0;
}

static void unmap_file(struct vhost_map *m)
{
	munmap(m->all, m->len); /* #syscalls:vu munmap */
	*m = (struct vhost_map){ 0 };
}

/* --- regions -------------------------------------------------------------- */

int vhost_mem_add(struct vhost_mem *m, const struct vhost_region *from, int fd)
{
	struct vhost_mapped *r = &m->r[m->n];
	int err;

	if (m->n == VHOST_REGIONS)
		return -ENOSPC;
	if (from->gpa + from->size < from->size ||
	    from->uva + from->size < from->size)
		return -EINVAL;
	err = map_file(&r->map, fd, from->size, from->offset);
	if (err)
		return err;
	r->at = (uint8_t *)r->map.all + from->offset;
	r->gpa = from->gpa;
	r->uva = from->uva;
	r->len = from->size;
	r->fd = fd;
	m->n++;
	return 0;
}

static void forget(struct vhost_mapped *r)
{
	unmap_file(&r->map);
	close(r->fd);
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
	forget(&m->r[i]);
	m->r[i] = m->r[--m->n];
	return 0;
}

void vhost_mem_clear(struct vhost_mem *m)
{
	while (m->n)
		forget(&m->r[--m->n]);
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

uint64_t vhost_mem_gpa(const struct vhost_mem *m, const void *at)
{
	unsigned i;
	size_t off;

	for (i = 0; i < m->n; i++) {
		off = (size_t)((const uint8_t *)at - m->r[i].at);
		if (off < m->r[i].len)
			return m->r[i].gpa + off;
	}
	return UINT64_MAX;
}

/* --- the log -------------------------------------------------------------- */

enum { LOG_PAGE = 4096 }; /* whatever the page sizes of both sides */

bool vhost_log_covers(const struct vhost_log *l, const struct vhost_mem *m)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if ((m->r[i].gpa + m->r[i].len - 1) / LOG_PAGE >= l->pages)
			return false;
	return true;
}

static void unmap_log(struct vhost_log *l)
{
	if (l->bits)
		unmap_file(&l->map);
}

int vhost_log_set(struct vhost_mem *m, int fd, uint64_t size, uint64_t offset)
{
	struct vhost_log new = { .pages = size * 8 };
	int err;

	if (!vhost_log_covers(&new, m))
		return -EINVAL;
	err = map_file(&new.map, fd, size, offset);
	if (err)
		return err;
	new.bits = (uint8_t *)new.map.all + offset;
	unmap_log(&m->log);
	m->log = new;
	return 0;
}

void vhost_log_clear(struct vhost_log *l)
{
	unmap_log(l);
	*l = (struct vhost_log){ 0 };
}

/* Set a bit atomically, in its 32-bit word, which does not reach beyond the
 * mapping's page: some machines have atomic operations for words only, and
 * compilers call libatomic for bytes */
static void set_bit(uint8_t *byte, unsigned bit)
{
	unsigned at = (uintptr_t)byte % sizeof(uint32_t);
	union {
		uint8_t byte[sizeof(uint32_t)];
		uint32_t word;
	} u = { .word = 0 };

	u.byte[at] = (uint8_t)(1U << bit);
	__atomic_fetch_or((uint32_t *)(void *)(byte - at), u.word,
			  __ATOMIC_RELEASE);
}

void vhost_log_mark(struct vhost_log *l, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa / LOG_PAGE;
	uint64_t end = page + (gpa % LOG_PAGE + len + LOG_PAGE - 1) / LOG_PAGE;

	/* The front-end may give any address as that of a ring */
	if (UNLIKELY(end > l->pages)) {
		log_limited(LOG_WARN, "vhost-user: %#" PRIx64 " is behind the "
				      "log of dirty pages", gpa);
		end = l->pages;
	}
	for (; page < end; page++)
		set_bit(&l->bits[page / 8], page % 8);
	l->marked = true;
}
