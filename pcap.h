/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pcap - writes finished copies of frames of both directions
 *
 * Classic format: magic 0xa1b2c3d4 in native order, version 2.4, snaplen 65535,
 * link type 1, microseconds of CLOCK_REALTIME.  With @drops it is pcapng: the
 * same with nanoseconds, the direction, and a comment that names the verdict on
 * each frame that was dropped.
 */
#ifndef PCAP_H
#define PCAP_H

#include "cursor.h"
#include "fdlist.h"
#include "packet.h"

enum { PCAP_FILES = 16, PCAP_SIZE_MIN = 1 << 20 };

struct pcap {
	int fd;	    /* -1: off */
	bool drops; /* what was dropped, too, and why */
	/* Of what a pipe did not take as a whole: it goes first */
	const uint8_t *rest;
	size_t rest_len;
	uint64_t lost; /* frames, since a reader may be slow or a disk full */
	unsigned frames; /* in what is to be written */
	uint64_t full_until; /* the disk, for what we know (ms); 0: it never was */
	/* With @drops: a frame from the guest whose verdict is not known.  It has
	 * so many bytes of those that are to be written. */
	size_t used, held;
	enum verdict verdict;
	/* Files to be written in turn, opened while there were paths */
	size_t limit, size; /* of one; 0: none */
	unsigned files, at;
	uint64_t part; /* how many of them were begun */
	int file[PCAP_FILES];
	const char *program;
};

/* What is asked for */
struct pcap_conf {
	const char *program; /* its name and version, for pcapng */
	bool drops;
	size_t limit;	/* bytes of a file, 0: any number */
	unsigned files; /* so many of them, in turn */
};

/* pcap_open - create @path (0600, truncated) and write the file header
 * With a limit also @path.1 and so on, which come next, each emptied when its
 * turn comes again.  The header of a FIFO is waited for, later nothing is.  0 or
 * -errno (-ESPIPE: a limit, but not a file); on failure @p is off. */
int pcap_open(struct pcap *p, const char *path, const struct pcap_conf *c);

/* pcap_frame - one frame of @len bytes, Ethernet first; @out: to the guest
 * An unfinished checksum (@n, may be NULL) is finished in the copy; a run of
 * segments is written as one frame.  Free of cost when off.  With @drops one
 * from the guest, and what is sent meanwhile, is kept until pcap_release(). */
void pcap_frame(struct pcap *p, bool out, const struct iovec *iov, unsigned cnt,
		size_t len, const struct note *n);

/* pcap_verdict - the frame that is kept, if any, was dropped; the first counts */
void pcap_verdict(struct pcap *p, enum verdict v);

/* pcap_lost - with @drops: one for the guest was dropped on its way */
void pcap_lost(struct pcap *p, enum verdict v, const struct iovec *iov,
	       unsigned cnt, size_t len, const struct note *n);

/* pcap_release - no more will be said about the frame that is kept */
void pcap_release(struct pcap *p);

/* pcap_save, pcap_load - one that goes on in another process, as the body of a
 * section; without @wanted it ends there, but for the rest of a record of which a
 * FIFO's reader has a part: that goes before the next frames.  Between turns; 0 or
 * -errno. */
void pcap_save(const struct pcap *p, struct wr *w, struct fdlist *fds);
int pcap_load(struct pcap *p, struct rd *r, struct fdlist *fds, bool wanted,
	      const char *program);

/* pcap_given - what pcap_save() wrote is loaded elsewhere: nothing more is written
 * here */
void pcap_given(struct pcap *p);

/* pcap_sync - fsync and say what is missing, before exit
 * The reader of a FIFO gets a moment for the rest of a record. */
void pcap_sync(struct pcap *p);

#endif /* PCAP_H */
