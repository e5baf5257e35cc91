/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pcap - captures finished copies of frames of both directions
 *
 * A frame is collected in one buffer behind its record header, a checksum that
 * was left to the transport is finished there, and the record is written at
 * once.  Traffic is more important than any capture.  What a disk takes only in
 * part is cut off again, so that the file ends with a whole record; if the disk
 * is full, that is tried again a second later; other errors end the capture.  A
 * FIFO cannot be cut: a record that went in part is completed before the next,
 * also at the end, and frames that there is no room for are counted.
 *
 * Why a frame was dropped is known only after it has arrived, and its answer
 * would be written before that.  So a block of pcapng is held in the buffer,
 * and what is sent meanwhile lies behind it.  A comment is inserted by moving
 * that.
 */
#include "pcap.h"
#include "checksum.h"
#include "iov.h"
#include "log.h"

#include <linux/virtio_net.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html */
enum { SNAPLEN = 65535, LINKTYPE_ETHERNET = 1, PIPE_BYTES = 1 << 20 };

/* Time until a full disk is tried again; time without one after which the next
 * is logged; time that the reader of a FIFO has for the rest of a record when
 * we end */
enum { FULL_MS = 1000, FULL_QUIET_MS = 60000, END_MS = 1000 };

/* https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html */
enum {
	BLOCK_SECTION = 0x0a0d0d0a,
	BLOCK_INTERFACE = 1,
	BLOCK_PACKET = 6,
	OPT_END = 0,
	OPT_COMMENT = 1,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_TSRESOL = 9,
	EPB_FLAGS = 2,
	EPB_INBOUND = 1,
	EPB_OUTBOUND = 2,
	BLOCK_END = 8, /* end of options, and the block's length again */
	COMMENT = 64,  /* at most */
	RECORD = SNAPLEN + 1 + 128,
};

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
};

struct block {
	uint32_t type, len;
};

struct section {
	struct block b;
	uint32_t magic;
	uint16_t major, minor;
	uint64_t len;
};

struct interface {
	struct block b;
	uint16_t link, reserved;
	uint32_t snaplen;
};

struct packet_block {
	struct block b;
	uint32_t interface;
	uint32_t high, low; /* time */
	uint32_t stored, len;
};

/* What is to be written: the first @used bytes */
static uint8_t buf[4 * RECORD];

/* --- pcapng ---------------------------------------------------------------- */

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static void put(struct pcap *p, const void *from, size_t len)
{
	size_t all = padded(len);

	memcpy(buf + p->used, from, len);
	memset(buf + p->used + len, 0, all - len);
	p->used += all;
}

static void put_option(struct pcap *p, uint16_t type, const void *v, size_t len)
{
	const uint16_t head[2] = { type, (uint16_t)len };

	put(p, head, sizeof(head));
	put(p, v, len);
}

/* End the block that begins at @at */
static void end_block(struct pcap *p, size_t at)
{
	uint32_t len = (uint32_t)(p->used - at + BLOCK_END);

	put_option(p, OPT_END, "", 0);
	put(p, &len, sizeof(len));
	memcpy(buf + at + offsetof(struct block, len), &len, sizeof(len));
}

static void put_comment(struct pcap *p, enum verdict v)
{
	char text[COMMENT - 4];
	int n = snprintf(text, sizeof(text), "dropped: %s", verdict_name(v));

	put_option(p, OPT_COMMENT, text, (size_t)n);
}

static void put_section(struct pcap *p)
{
	const struct section s = {
		.b.type = BLOCK_SECTION, .magic = 0x1a2b3c4d, .major = 1,
		.len = UINT64_MAX, /* up to the end */
	};
	const struct interface i = {
		.b.type = BLOCK_INTERFACE, .link = LINKTYPE_ETHERNET,
		.snaplen = SNAPLEN,
	};
	const uint8_t nanoseconds = 9;
	static const char name[] = "guest";
	char part[48];
	int n;

	put(p, &s, sizeof(s));
	put_option(p, SHB_USERAPPL, p->program, strlen(p->program));
	if (p->limit) {
		n = snprintf(part, sizeof(part), "part %llu of the capture",
			     (unsigned long long)p->part);
		put_option(p, OPT_COMMENT, part, (size_t)n);
	}
	end_block(p, 0);

	n = (int)p->used;
	put(p, &i, sizeof(i));
	put_option(p, IF_NAME, name, strlen(name));
	put_option(p, IF_TSRESOL, &nanoseconds, sizeof(nanoseconds));
	end_block(p, (size_t)n);
}

/* --- files ----------------------------------------------------------------- */

static void put_head(struct pcap *p)
{
	const struct file_head h = {
		.magic = 0xa1b2c3d4,
		.major = 2,
		.minor = 4,
		.snaplen = SNAPLEN,
		.link = LINKTYPE_ETHERNET,
	};

	if (p->drops)
		put_section(p);
	else
		put(p, &h, sizeof(h));
}

static int open_file(const char *path, bool limited)
{
	int flags = O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC;
	struct stat st;
	int fd = open(path, flags | (limited ? O_APPEND : 0), 0600);

	if (fd < 0)
		return -errno;
	if (limited && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		close(fd);
		return -ESPIPE;
	}
	return fd;
}

static void close_files(struct pcap *p)
{
	while (p->files)
		close(p->file[--p->files]);
	p->fd = -1;
}

static int open_files(struct pcap *p, const char *path,
		      const struct pcap_conf *c)
{
	unsigned n = c->limit ? c->files : 1;
	char name[4096 + 8];
	int fd;

	for (; p->files < n; p->files++) {
		snprintf(name, sizeof(name), p->files ? "%s.%u" : "%s", path,
			 p->files);
		fd = open_file(name, c->limit);
		if (fd < 0)
			return fd;
		p->file[p->files] = fd;
	}
	return 0;
}

int pcap_open(struct pcap *p, const char *path, const struct pcap_conf *c)
{
	ssize_t n;
	int err;

	*p = (struct pcap){ .fd = -1, .drops = c->drops, .limit = c->limit,
			    .program = c->program, .part = 1 };
	err = open_files(p, path, c);
	if (err)
		goto fail;
	p->fd = p->file[0];
	put_head(p);
	n = write(p->fd, buf, p->used);
	if (n != (ssize_t)p->used) {
		err = n < 0 ? -errno : -EIO;
		goto fail;
	}
	p->size = p->used;
	p->used = 0;
	/* Whatever it is, the open file is ours */
	fcntl(p->fd, F_SETFL, fcntl(p->fd, F_GETFL) | O_NONBLOCK);
	fcntl(p->fd, F_SETPIPE_SZ, PIPE_BYTES);
	return 0;

fail:
	close_files(p);
	p->drops = false;
	return err;
}

static void give_up(struct pcap *p, int err)
{
	log_warn("Can't write packet capture, giving up: %s", util_error(err));
	close_files(p);
	p->used = p->held = p->rest_len = p->frames = 0;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Cut off what was written of the last records; false: that is not possible */
static bool cut(struct pcap *p)
{
	off_t at, written = p->rest - buf;

	/* #syscalls lseek _llseek ftruncate */
	at = lseek(p->fd, 0, SEEK_CUR);
	if (at < written || ftruncate(p->fd, at - written) ||
	    lseek(p->fd, at - written, SEEK_SET) < 0)
		return false;
	p->size -= (size_t)written + p->rest_len;
	p->rest_len = 0;
	return true;
}

static void failed(struct pcap *p, int err)
{
	bool full = err == ENOSPC || err == EDQUOT;
	uint64_t now = now_ms();

	if (!cut(p) || !full) {
		give_up(p, err);
		return;
	}
	if (!p->full_until || now > p->full_until + FULL_QUIET_MS)
		log_warn("Packet capture: %s: frames are missing until there is",
			 util_error(err));
	p->lost += p->frames;
	p->full_until = now + FULL_MS;
}

/* Write what is left; false: not now, or never */
static bool flush(struct pcap *p)
{
	while (p->rest_len) {
		/* #syscalls write */
		ssize_t n = write(p->fd, p->rest, p->rest_len);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0) {
			failed(p, n < 0 ? errno : EIO);
			return false;
		}
		p->rest += n;
		p->rest_len -= (size_t)n;
	}
	return true;
}

/* The capture has ended in this process: only the rest of the last record is to
 * be written, which may take its time */
static void flush_last(struct pcap *p)
{
	p->fd = p->file[0];
	if (flush(p))
		close_files(p);
	else
		p->fd = -1;
}

/* Begin the next file, the oldest one, anew.  There are no paths any more, and
 * with O_APPEND no position has to be set. */
static bool next_file(struct pcap *p)
{
	p->at = (p->at + 1) % p->files;
	p->fd = p->file[p->at];
	p->size = 0;
	p->part++;
	if (!ftruncate(p->fd, 0))
		return true;
	give_up(p, errno);
	return false;
}

/* Insert the header of a file in front of what is to follow it */
static void insert_head(struct pcap *p)
{
	size_t used = p->used;

	memmove(buf + sizeof(buf) - used, buf, used);
	p->used = 0;
	put_head(p);
	memmove(buf + p->used, buf + sizeof(buf) - used, used);
	p->used += used;
}

static void write_out(struct pcap *p)
{
	if (p->limit && p->size + p->used > p->limit && !next_file(p))
		return;
	if (p->limit && !p->size)
		insert_head(p);
	p->size += p->used;
	p->rest = buf;
	p->rest_len = p->used;
	p->used = p->held = 0;
	(void)flush(p);
	p->frames = 0;
}

/* Whether a frame can be written: not if the disk is full, or the reader has
 * not taken the last one yet */
static bool is_ready(struct pcap *p)
{
	if (p->fd < 0)
		return false;
	if (p->full_until && now_ms() < p->full_until) {
		p->lost++;
		return false;
	}
	if (!p->rest_len || flush(p))
		return true;
	if (p->fd >= 0 && !p->lost++)
		log_warn("Packet capture is not read: frames are missing");
	return false;
}

/* --- frames ---------------------------------------------------------------- */

static void finish(uint8_t *frame, size_t len, const struct note *n)
{
	size_t at = (size_t)n->csum_start + n->csum_offset;
	uint16_t sum;

	if (!(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || at + 2 > len)
		return;
	sum = csum_finish(
		csum_add(0, frame + n->csum_start, len - n->csum_start));
	if (!sum)
		sum = 0xffff; /* zero means "none" to UDP (RFC 768) */
	memcpy(frame + at, &sum, sizeof(sum));
}

/* Write the bytes of a frame, as many as are captured */
static void put_bytes(struct pcap *p, const struct iovec *iov, unsigned cnt,
		      size_t len, const struct note *n)
{
	uint8_t *to = buf + p->used;
	size_t stored = iov_read(iov, cnt, 0, to, MIN(len, SNAPLEN));

	if (n && stored == len)
		finish(to, len, n);
	p->used += stored;
}

static void put_record(struct pcap *p, const struct timespec *now,
		       const struct iovec *iov, unsigned cnt, size_t len,
		       const struct note *n)
{
	const struct record r = {
		.sec = (uint32_t)now->tv_sec,
		.usec = (uint32_t)(now->tv_nsec / 1000),
		.stored = (uint32_t)MIN(len, SNAPLEN), .len = (uint32_t)len,
	};

	put(p, &r, sizeof(r));
	put_bytes(p, iov, cnt, len, n);
}

static void put_packet(struct pcap *p, const struct timespec *now, bool out,
		       enum verdict v, const struct iovec *iov, unsigned cnt,
		       size_t len, const struct note *n)
{
	static const uint8_t zero[4];
	uint64_t ns = (uint64_t)now->tv_sec * 1000000000 +
		      (uint64_t)now->tv_nsec;
	const struct packet_block h = {
		.b.type = BLOCK_PACKET, .high = (uint32_t)(ns >> 32),
		.low = (uint32_t)ns, .stored = (uint32_t)MIN(len, SNAPLEN),
		.len = (uint32_t)len,
	};
	const uint32_t flags = out ? EPB_OUTBOUND : EPB_INBOUND;
	size_t at = p->used;

	put(p, &h, sizeof(h));
	put_bytes(p, iov, cnt, len, n);
	memcpy(buf + p->used, zero, padded(h.stored) - h.stored);
	p->used += padded(h.stored) - h.stored;
	put_option(p, EPB_FLAGS, &flags, sizeof(flags));
	if (v != PASS)
		put_comment(p, v);
	end_block(p, at);
}

static void capture(struct pcap *p, bool out, enum verdict v,
		    const struct iovec *iov, unsigned cnt, size_t len,
		    const struct note *n)
{
	struct timespec now;

	/* There must be room for this frame, and for a header if the next file
	 * begins */
	if (p->used > sizeof(buf) - 2 * RECORD)
		write_out(p);
	if (!p->used && !is_ready(p))
		return;
	p->frames++;
	clock_gettime(CLOCK_REALTIME, &now);
	if (p->drops)
		put_packet(p, &now, out, v, iov, cnt, len, n);
	else
		put_record(p, &now, iov, cnt, len, n);
}

void pcap_frame(struct pcap *p, bool out, const struct iovec *iov, unsigned cnt,
		size_t len, const struct note *n)
{
	bool hold = p->drops && !out;

	if (p->fd < 0) {
		if (UNLIKELY(p->rest_len))
			flush_last(p);
		return;
	}
	if (hold)
		pcap_release(p);
	capture(p, out, PASS, iov, cnt, len, n);
	if (hold) {
		p->held = p->used;
		p->verdict = PASS;
	} else if (p->used && !p->held) {
		write_out(p);
	}
}

void pcap_lost(struct pcap *p, enum verdict v, const struct iovec *iov,
	       unsigned cnt, size_t len, const struct note *n)
{
	if (p->fd < 0 || !p->drops)
		return;
	capture(p, true, v, iov, cnt, len, n);
	if (p->used && !p->held)
		write_out(p);
}

void pcap_verdict(struct pcap *p, enum verdict v)
{
	size_t was = p->used, held = p->held;

	if (!held || p->verdict != PASS)
		return;
	p->verdict = v;
	/* Write the options again, with a comment, in front of what was sent
	 * meanwhile */
	p->used = held - BLOCK_END;
	memmove(buf + held + COMMENT, buf + held, was - held);
	put_comment(p, v);
	end_block(p, 0);
	p->held = p->used;
	memmove(buf + p->used, buf + held + COMMENT, was - held);
	p->used += was - held;
}

void pcap_release(struct pcap *p)
{
	if (p->held)
		write_out(p);
}

void pcap_save(const struct pcap *p, struct wr *w, struct fdlist *fds)
{
	unsigned i;

	wr_u8(w, p->drops);
	wr_be64(w, p->limit);
	wr_be64(w, p->size);
	wr_be64(w, p->part);
	wr_be64(w, p->lost);
	wr_u8(w, (uint8_t)p->at);
	wr_u8(w, (uint8_t)p->files);
	for (i = 0; i < p->files; i++)
		fdlist_put(fds, p->file[i]);
	wr_be32(w, (uint32_t)p->rest_len);
	wr_bytes(w, p->rest, p->rest_len);
}

static void load_rest(struct pcap *p, struct rd *r)
{
	size_t len = rd_be32(r);

	if (len > sizeof(buf))
		r->bad = true;
	else
		rd_copy(r, buf, len);
	p->rest = buf;
	p->rest_len = rd_ok(r) ? len : 0;
}

/* The capture is off here.  The rest of a record of which a reader has a part
 * is for flush_last(). */
static void unwanted(struct pcap *p)
{
	int fd = p->fd;

	p->file[p->at] = p->file[--p->files];
	close_files(p);
	p->at = 0;
	p->drops = false;
	if (p->rest_len)
		p->file[p->files++] = fd;
	else
		close(fd);
}

int pcap_load(struct pcap *p, struct rd *r, struct fdlist *fds, bool wanted,
	      const char *program)
{
	unsigned n;

	*p = (struct pcap){ .fd = -1, .program = program };
	p->drops = rd_u8(r) & 1;
	p->limit = (size_t)rd_be64(r);
	p->size = (size_t)rd_be64(r);
	p->part = rd_be64(r);
	p->lost = rd_be64(r);
	p->at = rd_u8(r);
	n = rd_u8(r);
	if (!rd_ok(r) || p->at >= n || n > PCAP_FILES)
		return -EPROTO;
	while (p->files < n)
		p->file[p->files++] = fdlist_take(fds);
	load_rest(p, r);
	p->fd = p->file[p->at];
	if (!wanted)
		unwanted(p);
	return 0;
}

void pcap_given(struct pcap *p)
{
	if (p->fd < 0)
		return;
	close_files(p);
	p->rest_len = 0;
}

/* Give a slow reader time for the rest of a record; not one that is gone or
 * does nothing */
static void finish_record(struct pcap *p)
{
	const struct timespec wait = { .tv_sec = END_MS / 1000 };
	struct pollfd room = { .fd = p->fd, .events = POLLOUT };
	uint64_t end = now_ms() + END_MS;

	/* #syscalls ppoll ppoll_time64 */
	while (!flush(p) && p->rest_len && now_ms() < end &&
	       ppoll(&room, 1, &wait, NULL) > 0)
		;
	if (p->rest_len)
		log_warn("The last frame of the packet capture is not whole");
}

void pcap_sync(struct pcap *p)
{
	if (p->fd < 0 && !p->rest_len)
		return;
	p->fd = p->file[p->at];
	pcap_release(p);
	finish_record(p);
	if (p->lost)
		log_warn("%llu frames are missing in the packet capture",
			 (unsigned long long)p->lost);
	if (p->fd >= 0)
		fsync(p->fd); /* #syscalls fsync */
}
