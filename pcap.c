/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pcap - writes finished copies of frames of both directions
 *
 * A frame is collected in one buffer behind its record header, a checksum that
 * was left to the transport is finished there, and the record goes out in one
 * write.  A capture that cannot be continued ends with a warning: the file
 * stays readable, and traffic is more important.  So it is than a reader of a
 * FIFO that does not keep up: what has no room is counted, and a record that
 * went in part is completed before the next.
 */
#include "pcap.h"
#include "checksum.h"
#include "iov.h"
#include "log.h"

#include <linux/virtio_net.h>

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html */
enum { SNAPLEN = 65535, LINKTYPE_ETHERNET = 1, PIPE_BYTES = 1 << 20 };

struct file_head {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy;
	uint32_t snaplen;
	uint32_t link;
};

struct record {
	uint32_t sec, usec;
	uint32_t stored, len;
	uint8_t frame[SNAPLEN + 1];
};

int pcap_open(struct pcap *p, const char *path)
{
	const struct file_head h = {
		.magic = 0xa1b2c3d4,
		.major = 2,
		.minor = 4,
		.snaplen = SNAPLEN,
		.link = LINKTYPE_ETHERNET,
	};
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	ssize_t n;
	int err;

	*p = (struct pcap){ .fd = -1 };
	if (fd < 0)
		return -errno;
	n = write(fd, &h, sizeof(h));
	if (n != sizeof(h)) {
		err = n < 0 ? -errno : -EIO;
		close(fd);
		return err;
	}
	/* Whatever it is, this open file is ours */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
	p->fd = fd;
	return 0;
}

static void finish(struct record *r, const struct note *n)
{
	size_t at = (size_t)n->csum_start + n->csum_offset;
	uint16_t sum;

	if (!(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || at + 2 > r->len ||
	    r->len > r->stored)
		return;
	sum = csum_finish(
		csum_add(0, r->frame + n->csum_start, r->len - n->csum_start));
	if (!sum)
		sum = 0xffff; /* zero means "none" to UDP (RFC 768) */
	memcpy(r->frame + at, &sum, sizeof(sum));
}

/* What there is to write, or false: not now, or never */
static bool flush(struct pcap *p)
{
	while (p->rest_len) {
		/* #syscalls write */
		ssize_t n = write(p->fd, p->rest, p->rest_len);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0) {
			log_warn("Can't write packet capture, giving up");
			close(p->fd);
			p->fd = -1;
			return false;
		}
		p->rest += n;
		p->rest_len -= (size_t)n;
	}
	return true;
}

/* False if the reader has not taken the last one yet */
static bool is_ready(struct pcap *p)
{
	if (p->fd < 0)
		return false;
	if (!p->rest_len || flush(p))
		return true;
	if (p->fd >= 0 && !p->lost++)
		log_warn("Packet capture is not read: frames are missing");
	return false;
}

void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned cnt,
		size_t len, const struct note *n)
{
	static struct record r;
	struct timespec now;

	if (!is_ready(p))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	r.sec = (uint32_t)now.tv_sec;
	r.usec = (uint32_t)(now.tv_nsec / 1000);
	r.len = (uint32_t)len;
	r.stored = (uint32_t)iov_read(iov, cnt, 0, r.frame, MIN(len, SNAPLEN));
	if (n)
		finish(&r, n);
	p->rest = (const uint8_t *)&r;
	p->rest_len = offsetof(struct record, frame) + r.stored;
	(void)flush(p);
}

void pcap_sync(struct pcap *p)
{
	if (p->fd < 0)
		return;
	(void)flush(p);
	if (p->lost)
		log_warn("%llu frames are missing in the packet capture",
			 (unsigned long long)p->lost);
	if (p->fd >= 0)
		fsync(p->fd); /* #syscalls fsync */
}
