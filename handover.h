/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * handover - all that a process has, as sections of a state and descriptors, and back
 *
 * Which modules have something to give, and in which order it is to be had again.
 */
#ifndef HANDOVER_H
#define HANDOVER_H

#include "conf.h"
#include "fdlist.h"
#include "guest.h"
#include "listen.h"
#include "migrate.h"
#include "plan.h"
#include "splice.h"
#include "state.h"
#include "tap_stream.h"
#include "tap_tun.h"
#include "tap_vhost.h"
#include "tcp.h"

/* Where others come for us: the guest's front-end, pesto, who watches, who tells us
 * to leave by closing it, passt-repair; and that itself.  The last is a file, with a section of
 * its own.  Numbers are part of the format. */
enum { HANDOVER_GUEST, HANDOVER_CONTROL, HANDOVER_METRICS, HANDOVER_EXIT,
       HANDOVER_REPAIR, HANDOVER_HELPER, HANDOVER_CAPTURE, HANDOVER_SOCKETS };

struct handover {
	const struct conf *conf;
	struct plan *plan; /* in force */
	char *ns_ifname;   /* IFNAMSIZ bytes */
	struct tap *tap;
	struct tap_tun *tun; /* as @tap is one of these */
	struct tap_stream *stream;
	struct tap_vhost *vhost;
	const struct migrate *migrate;
	struct flows *flows;
	struct fwd *fwd;
	struct listen *listen;
	struct tcp *tcp;
	struct splice *splice; /* NULL: there is no other namespace */
	struct guest *guest;
	struct pcap *pcap;
	bool hurry; /* files on their way, which a guest may keep so, are not waited for */
	int *socket[HANDOVER_SOCKETS]; /* -1: none */
	/* Between handover_begin() and the end */
	unsigned step, at;
	bool whole; /* loaded: the end was there */
	bool linked; /* loaded: the guest's link is */
	/* Loaded, of the next flow */
	int side[2], pipe[2][2];
	const struct flow *last; /* and this one came before */
};

/* handover_lan, handover_load_lan - what the guest was told of its link, and what
 * follows from that, as the body of a section; false: that is none */
void handover_lan(const struct handover *h, struct wr *w);
bool handover_load_lan(const struct handover *h, struct rd *r);

/* handover_begin - before the first of what follows, either way */
void handover_begin(struct handover *h);

/* handover_save - append the next section
 * Between turns.  1: there is more; 0: that was the last; -EAGAIN with the first:
 * not now, but in one of the next turns; another -errno: it can't be done. */
int handover_save(struct handover *h, struct wr *w, struct fdlist *fds);

/* handover_given - all of it is somebody else's now, and nobody else's */
void handover_given(struct handover *h);

/* handover_load - take a section into service; 0 or -errno
 * Before the filter.  Nothing is read from any descriptor that comes. */
int handover_load(struct handover *h, uint32_t tag, struct rd *body,
		  struct fdlist *fds);

#endif /* HANDOVER_H */
