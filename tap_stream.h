/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_stream - length-prefixed frames over a Unix stream socket
 *
 * The format of QEMU's -netdev stream: 4 bytes of big-endian length, then an
 * Ethernet frame of 14 to 65535 bytes.  There is one guest at a time; a second
 * client is accepted and closed, unless the first one is about to leave.  A bad
 * length ends the client's connection, not the process.
 */
#ifndef TAP_STREAM_H
#define TAP_STREAM_H

#include "acceptor.h"
#include "tap.h"

enum {
	STREAM_RX_BYTES = 1 << 20,
	STREAM_TX_BYTES = 33 << 16, /* room for STREAM_SLOTS of the longest
				       frames */
	STREAM_TX_IOV = 1024,       /* UIO_MAXIOV: what one sendmsg() takes */
	STREAM_SLOTS = 32,
	STREAM_PIECES = 128,
};

struct tap_stream {
	struct tap tap; /* must be first: ops get a pointer to this */
	struct acceptor acceptor; /* its descriptor is -1 with --fd */
	int fd;         /* the guest, -1: none */
	int next;	/* a client that came while the guest was leaving, -1:
			   none */
	bool one_off;   /* exit with status 0 when the guest leaves */
	uint8_t *rx; /* received: bytes from rx_at up to rx_end were not given
			out yet */
	size_t rx_at, rx_end;
	bool empty;  /* the socket has no more until the next event */
	bool ending; /* the guest has left, but not all of its bytes were
			read */
	bool watch_out; /* EPOLLOUT is asked for */
	uint8_t *tx;
	size_t tx_used; /* bytes of @tx that are laid out ... */
	size_t tx_top;  /* ... and up to where they were committed */
	unsigned slot_next, slot_out; /* of @body: the next free one; how many
					 are not given back */
	unsigned iov_at, iov_end;     /* of @iov: what was committed and not
					 sent yet */
	struct iovec iov[STREAM_TX_IOV];
	struct iovec body[STREAM_SLOTS][STREAM_PIECES];
};

/* tap_stream_init - set up @t; 0 or -errno
 * One of tap_stream_listen(), _adopt() and _load() must follow. */
int tap_stream_init(struct tap_stream *t, struct loop *l, struct pcap *pcap,
		    unsigned watch, bool one_off);

/* tap_stream_bind - make the listening socket, before privileges are given up
 * Returns the descriptor or -errno.  With @path: -EADDRINUSE if somebody
 * answers there, or if what is there is no socket; a stale socket and an empty
 * file are replaced.  With @path "" /tmp/passt_1.socket to _99 are tried; the
 * one taken, or the last one, is written to @path (108 bytes). */
int tap_stream_bind(char *path);

/* tap_stream_accept - accept the next client of a listening socket; its
 * descriptor or -errno
 * With @busy it is turned away, and -EBUSY returned. */
int tap_stream_accept(struct acceptor *a, bool busy);

/* tap_stream_closed - log that the client's connection has ended, and why
 * @why is NULL if it has just left, or if the reason was logged already. */
void tap_stream_closed(const char *why, bool one_off);

/* tap_stream_check - 0 if @fd is a stream socket, else -ENOTSOCK or
 * -EPROTOTYPE; also 0 if a security module forbids to ask */
int tap_stream_check(int fd);

/* tap_stream_listen - accept guests on @fd, which is listening already; 0 or
 * -errno */
int tap_stream_listen(struct tap_stream *t, int fd);

/* tap_stream_adopt - make @fd the guest (--fd); no other will follow
 * Returns 0 or -errno, see tap_stream_check(). */
int tap_stream_adopt(struct tap_stream *t, int fd);

/* tap_stream_load - take over the guest, and bytes that were under way, as
 * another process has saved them, instead of tap_stream_listen() or _adopt(); 0
 * or -errno */
int tap_stream_load(struct tap_stream *t, struct rd *r, struct fdlist *fds);

#endif /* TAP_STREAM_H */
