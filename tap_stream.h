/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_stream - length-prefixed frames over a Unix stream socket
 *
 * QEMU's -netdev stream: 4 bytes of big-endian length, then an Ethernet frame
 * of 14 to 65535 bytes.  One guest at a time; a second client is accepted and
 * closed.  A bad length ends the client, not the process.
 */
#ifndef TAP_STREAM_H
#define TAP_STREAM_H

#include "acceptor.h"
#include "tap.h"

enum {
	STREAM_RX_BYTES = 1 << 20,
	STREAM_TX_BYTES = 33 << 16, /* STREAM_SLOTS of the longest frames */
	STREAM_TX_IOV = 1024,       /* UIO_MAXIOV: one sendmsg takes them all */
	STREAM_SLOTS = 32,
	STREAM_PIECES = 128,
};

struct tap_stream {
	struct tap tap; /* first: ops get a pointer to this */
	struct acceptor acceptor; /* its descriptor is -1 with --fd */
	int fd;         /* the guest, -1 */
	int next;	/* came when that one had left, -1 */
	bool one_off;   /* leave with status 0 when the guest does */
	uint8_t *rx; /* received: [rx_at, rx_end) not yet given out */
	size_t rx_at, rx_end;
	bool empty;  /* the socket has no more until the next event */
	bool ending; /* it has, behind its last bytes */
	bool watch_out; /* the loop tells of room */
	uint8_t *tx;
	size_t tx_used; /* bytes of @tx laid out ... */
	size_t tx_top;  /* ... and up to where they were committed */
	unsigned slot_next, slot_out; /* of @body: next free, not given back */
	unsigned iov_at, iov_end;     /* of @iov: committed, not yet sent */
	struct iovec iov[STREAM_TX_IOV];
	struct iovec body[STREAM_SLOTS][STREAM_PIECES];
};

/* tap_stream_init - 0 or -errno; then one of the next two */
int tap_stream_init(struct tap_stream *t, struct loop *l, struct pcap *pcap,
		    unsigned watch, bool one_off);

/* tap_stream_bind - the listening socket, before privileges go
 * With @path: -EADDRINUSE if somebody answers there, or if what is there is no
 * socket; a stale one is replaced.  @path "" probes /tmp/passt_1.socket to _99
 * and writes the one taken, or the last, to @path (108 bytes).  Returns the descriptor or
 * -errno. */
int tap_stream_bind(char *path);

/* tap_stream_accept - the next client of a listening socket
 * Its descriptor or -errno; with @busy it is turned away: -EBUSY. */
int tap_stream_accept(struct acceptor *a, bool busy);

/* tap_stream_closed - say that the client's connection has ended, and why
 * @why is NULL if it has left, or if that was said already. */
void tap_stream_closed(const char *why, bool one_off);

/* tap_stream_check - 0 if @fd is a stream socket, or -ENOTSOCK, -EPROTOTYPE */
int tap_stream_check(int fd);

/* tap_stream_listen - accept guests on @fd (already listening) */
int tap_stream_listen(struct tap_stream *t, int fd);

/* tap_stream_adopt - @fd is the guest (--fd); no other will follow
 * 0 or -errno, see tap_stream_check(). */
int tap_stream_adopt(struct tap_stream *t, int fd);

/* tap_stream_load - the guest and what was on its way, as another process has saved
 * it, in place of tap_stream_listen() or _adopt(); 0 or -errno */
int tap_stream_load(struct tap_stream *t, struct rd *r, struct fdlist *fds);

#endif /* TAP_STREAM_H */
