/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pcap - writes finished copies of frames of both directions
 *
 * Classic format: magic 0xa1b2c3d4 in native order, version 2.4, snaplen 65535,
 * link type 1, microseconds of CLOCK_REALTIME.
 */
#ifndef PCAP_H
#define PCAP_H

#include "packet.h"

struct pcap {
	int fd; /* -1: off */
	/* Of a record that a pipe did not take as a whole: it goes first */
	const uint8_t *rest;
	size_t rest_len;
	uint64_t lost; /* frames, since a reader may be slow */
};

/* pcap_open - create @path (0600, truncated) and write the file header
 * That of a FIFO is waited for, later nothing is.  0 or -errno; on failure @p is off. */
int pcap_open(struct pcap *p, const char *path);

/* pcap_frame - one frame of @len bytes, Ethernet first
 * An unfinished checksum (@n, may be NULL) is finished in the copy; a run of
 * segments is written as one frame.  Free of cost when off. */
void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned cnt,
		size_t len, const struct note *n);

/* pcap_sync - fsync and say what is missing, before exit */
void pcap_sync(struct pcap *p);

#endif /* PCAP_H */
