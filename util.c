/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * util - numbers from text, names of errors, small files, memory, randomness
 *
 * Here is what needs a system call or more than one line; the rest is inline in
 * the header.
 */
#include "util.h"

#include <linux/stat.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

bool util_parse_u64(const char *s, int base, uint64_t max, uint64_t *out)
{
	unsigned long long v;
	char *end;
	int err, saved = errno;

	errno = 0;
	v = strtoull(s, &end, base);
	err = errno;
	errno = saved;
	if (err || end == s || *end || v > max)
		return false;
	/* strtoull() accepts a sign and wraps: "-18446744073709551615" is 1 */
	if (v && strchr(s, '-'))
		return false;
	*out = v;
	return true;
}

bool util_parse_size(const char *s, uint64_t max, uint64_t *out)
{
	static const char units[] = "KMG";
	size_t len = strlen(s);
	const char *unit = NULL;
	char number[32];
	unsigned shift = 0;

	if (len && len < sizeof(number))
		unit = strchr(units, toupper((unsigned char)s[len - 1]));
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		memcpy(number, s, len - 1);
		number[len - 1] = '\0';
		s = number;
	}
	if (!util_parse_u64(s, 0, max >> shift, out))
		return false;
	*out <<= shift;
	return true;
}

char *util_decimal(char *to, uint64_t v, unsigned digits)
{
	char text[20], *at = text + sizeof(text);

	do {
		*--at = (char)('0' + v % 10);
		v /= 10;
	} while (v || (unsigned)(text + sizeof(text) - at) < digits);
	memcpy(to, at, (size_t)(text + sizeof(text) - at));
	return to + (text + sizeof(text) - at);
}

/* The texts of glibc, whatever the libc: programs that call us look for them */
static const char *const error_text[] = {
	[EPERM] = "Operation not permitted",
	[ENOENT] = "No such file or directory",
	[ESRCH] = "No such process",
	[EINTR] = "Interrupted system call",
	[EIO] = "Input/output error",
	[ENXIO] = "No such device or address",
	[E2BIG] = "Argument list too long",
	[ENOEXEC] = "Exec format error",
	[EBADF] = "Bad file descriptor",
	[ECHILD] = "No child processes",
	[EAGAIN] = "Resource temporarily unavailable",
	[ENOMEM] = "Cannot allocate memory",
	[EACCES] = "Permission denied",
	[EFAULT] = "Bad address",
	[EBUSY] = "Device or resource busy",
	[EEXIST] = "File exists",
	[EXDEV] = "Invalid cross-device link",
	[ENODEV] = "No such device",
	[ENOTDIR] = "Not a directory",
	[EISDIR] = "Is a directory",
	[EINVAL] = "Invalid argument",
	[ENFILE] = "Too many open files in system",
	[EMFILE] = "Too many open files",
	[ENOTTY] = "Inappropriate ioctl for device",
	[ETXTBSY] = "Text file busy",
	[EFBIG] = "File too large",
	[ENOSPC] = "No space left on device",
	[ESPIPE] = "Illegal seek",
	[EROFS] = "Read-only file system",
	[EMLINK] = "Too many links",
	[EPIPE] = "Broken pipe",
	[ERANGE] = "Numerical result out of range",
	[EDEADLK] = "Resource deadlock avoided",
	[ENAMETOOLONG] = "File name too long",
	[ENOLCK] = "No locks available",
	[ENOSYS] = "Function not implemented",
	[ENOTEMPTY] = "Directory not empty",
	[ELOOP] = "Too many levels of symbolic links",
	[ENODATA] = "No data available",
	[ENONET] = "Machine is not on the network",
	[ENOLINK] = "Link has been severed",
	[ECOMM] = "Communication error on send",
	[EPROTO] = "Protocol error",
	[EBADMSG] = "Bad message",
	[EOVERFLOW] = "Value too large for defined data type",
	[ENOTUNIQ] = "Name not unique on network",
	[EBADFD] = "File descriptor in bad state",
	[EILSEQ] = "Invalid or incomplete multibyte or wide character",
	[ERESTART] = "Interrupted system call should be restarted",
	[EUSERS] = "Too many users",
	[ENOTSOCK] = "Socket operation on non-socket",
	[EDESTADDRREQ] = "Destination address required",
	[EMSGSIZE] = "Message too long",
	[EPROTOTYPE] = "Protocol wrong type for socket",
	[ENOPROTOOPT] = "Protocol not available",
	[EPROTONOSUPPORT] = "Protocol not supported",
	[ESOCKTNOSUPPORT] = "Socket type not supported",
	[EOPNOTSUPP] = "Operation not supported",
	[EPFNOSUPPORT] = "Protocol family not supported",
	[EAFNOSUPPORT] = "Address family not supported by protocol",
	[EADDRINUSE] = "Address already in use",
	[EADDRNOTAVAIL] = "Cannot assign requested address",
	[ENETDOWN] = "Network is down",
	[ENETUNREACH] = "Network is unreachable",
	[ENETRESET] = "Network dropped connection on reset",
	[ECONNABORTED] = "Software caused connection abort",
	[ECONNRESET] = "Connection reset by peer",
	[ENOBUFS] = "No buffer space available",
	[EISCONN] = "Transport endpoint is already connected",
	[ENOTCONN] = "Transport endpoint is not connected",
	[ESHUTDOWN] = "Cannot send after transport endpoint shutdown",
	[ETOOMANYREFS] = "Too many references: cannot splice",
	[ETIMEDOUT] = "Connection timed out",
	[ECONNREFUSED] = "Connection refused",
	[EHOSTDOWN] = "Host is down",
	[EHOSTUNREACH] = "No route to host",
	[EALREADY] = "Operation already in progress",
	[EINPROGRESS] = "Operation now in progress",
	[ESTALE] = "Stale file handle",
	[EUCLEAN] = "Structure needs cleaning",
	[EREMOTEIO] = "Remote I/O error",
	[EDQUOT] = "Disk quota exceeded",
	[ECANCELED] = "Operation canceled",
	[ENOKEY] = "Required key not available",
	[ERFKILL] = "Operation not possible due to RF-kill",
	[EHWPOISON] = "Memory page has hardware error",
};

const char *util_error(int err)
{
	if (err < 0 || err >= (int)ARRAY_SIZE(error_text) || !error_text[err])
		return "Unknown error";
	return error_text[err];
}

static int read_all(int fd, char *buf, size_t room)
{
	size_t got = 0;
	ssize_t n;

	while (got < room) {
		n = read(fd, buf + got, room - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (int)got;
}

int util_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), n;

	if (fd < 0)
		return -errno;
	n = read_all(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

int util_fstat(int fd, struct util_stat *st)
{
	struct statx x;

	/* #syscalls statx */
	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x))
		return -errno;
	*st = (struct util_stat){ x.stx_mode, x.stx_blksize, x.stx_size,
				  x.stx_ino,
				  (uint64_t)x.stx_dev_major << 32 |
					  x.stx_dev_minor };
	return 0;
}

void util_pass(struct msghdr *m, void *control, const int *fd, unsigned n)
{
	struct cmsghdr *h = control;

	if (!n)
		return;
	m->msg_control = control;
	m->msg_controllen = CMSG_SPACE(n * sizeof(*fd));
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(n * sizeof(*fd));
	memcpy(CMSG_DATA(h), fd, n * sizeof(*fd));
}

void *util_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, bytes, MADV_NOHUGEPAGE); /* fails if the kernel has
						     none */
	return p;
}

void util_spare_memory(void)
{
	extern char __bss_start[], _end[]; /* defined by the linker */
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	char *from = __bss_start - (uintptr_t)__bss_start % page;

	(void)madvise(from, (size_t)(_end - from), MADV_NOHUGEPAGE);
}

/* For kernels before 3.17, which have no getrandom() */
static bool read_urandom(void *buf, size_t n)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC), got;

	if (fd < 0)
		return false;
	got = read_all(fd, buf, n);
	close(fd);
	return got >= 0 && (size_t)got == n;
}

bool util_random(void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n) {
		long got = syscall(SYS_getrandom, p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return read_urandom(p, n);
		p += got;
		n -= (size_t)got;
	}
	return true;
}
