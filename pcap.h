/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pcap - captures finished copies of frames of both directions
 *
 * Classic format: magic 0xa1b2c3d4 in native order, version 2.4, snaplen 65535,
 * link type 1, microseconds of CLOCK_REALTIME.  With @drops it is pcapng, which
 * also has nanoseconds, the direction, and a comment with the verdict on each
 * frame that was dropped.
 */
#ifndef PCAP_H
#define PCAP_H

#include "cursor.h"
#include "fdlist.h"
#include "packet.h"

enum { PCAP_FILES = 16, PCAP_SIZE_MIN = 1 << 20 };

struct pcap {
	int fd;	    /* -1: off */
	bool drops; /* also capture what was dropped, and why */
	/* What is left of a record that a pipe has taken in part: it goes
	 * first */
	const uint8_t *rest;
	size_t rest_len;
	uint64_t lost; /* frames not captured, as a reader was slow or the disk
			  full */
	unsigned frames; /* frames in what is to be written */
	uint64_t full_until; /* until then (ms) the disk is assumed to be full;
				0: it never was */
	/* With @drops: a frame from the guest is held until its verdict is
	 * known.  It is the first @held of @used bytes to be written. */
	size_t used, held;
	enum verdict verdict;
	/* Files that are written in turn, opened while there were paths */
	size_t limit, size; /* of a file; @limit 0: none */
	unsigned files, at;
	uint64_t part; /* files begun so far */
	int file[PCAP_FILES];
	const char *program;
};

/* What the user asks for */
struct pcap_conf {
	const char *program; /* name and version of the program, for pcapng */
	bool drops;
	size_t limit;	/* most bytes of a file, 0: no limit */
	unsigned files; /* files, written in turn */
};

/* pcap_open - create @path (0600, truncated) and write the file header
 * With a limit also @path.1 and so on are created; they are written after it,
 * and each is emptied when its turn comes again.  Writing the header to a FIFO
 * may wait, nothing later does.  Returns 0 or -errno (-ESPIPE: a limit, but no
 * regular file); on failure @p is off. */
int pcap_open(struct pcap *p, const char *path, const struct pcap_conf *c);

/* pcap_frame - capture a frame of @len bytes from the Ethernet header on; @out:
 * to the guest
 * A checksum that note @n (may be NULL) leaves unfinished is finished in the
 * copy; a run of segments is written as one frame.  Costs nothing if off.  With
 * @drops a frame from the guest, and what is sent meanwhile, is held until
 * pcap_release(). */
void pcap_frame(struct pcap *p, bool out, const struct iovec *iov, unsigned cnt,
		size_t len, const struct note *n);

/* pcap_verdict - the frame that is held, if any, was dropped because of @v;
 * only the first call counts */
void pcap_verdict(struct pcap *p, enum verdict v);

/* pcap_lost - with @drops: capture a frame for the guest that was dropped
 * because of @v */
void pcap_lost(struct pcap *p, enum verdict v, const struct iovec *iov,
	       unsigned cnt, size_t len, const struct note *n);

/* pcap_release - the verdict on the frame that is held, if any, is final */
void pcap_release(struct pcap *p);

/* pcap_save, pcap_load - write and read the body of a section with a capture
 * that goes on in another process, between turns
 * If it is not @wanted there, it ends; but the rest of a record of which a
 * FIFO's reader has a part is written before the next frame.  pcap_load()
 * returns 0 or -errno. */
void pcap_save(const struct pcap *p, struct wr *w, struct fdlist *fds);
int pcap_load(struct pcap *p, struct rd *r, struct fdlist *fds, bool wanted,
	      const char *program);

/* pcap_given - another process has loaded what pcap_save() wrote: write nothing
 * more here */
void pcap_given(struct pcap *p);

/* pcap_sync - before exit: fsync() and log how many frames are missing
 * The reader of a FIFO gets a moment to take the rest of a record. */
void pcap_sync(struct pcap *p);

#endif /* PCAP_H */
