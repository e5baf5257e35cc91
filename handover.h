/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * handover - all that a process has, as sections of a state and descriptors,
 * and back
 *
 * Which modules have something to hand over, and the order in which it has to
 * be loaded.
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

/* Sockets and descriptors by which others reach us: the guest's front-end,
 * pesto, readers of metrics, whoever closes --exit-fd to have us leave,
 * passt-repair, and a passt-repair that is connected.  The last is a file, the
 * capture, with a section of its own.  The numbers are part of the format. */
enum { HANDOVER_GUEST, HANDOVER_CONTROL, HANDOVER_METRICS, HANDOVER_EXIT,
       HANDOVER_REPAIR, HANDOVER_HELPER, HANDOVER_CAPTURE, HANDOVER_SOCKETS };

struct handover {
	const struct conf *conf;
	struct plan *plan; /* the plan in force */
	char *ns_ifname;   /* name of the interface in the namespace, IFNAMSIZ
			      bytes */
	struct tap *tap;
	struct tap_tun *tun; /* whichever of these @tap is */
	struct tap_stream *stream;
	struct tap_vhost *vhost;
	const struct migrate *migrate;
	struct flows *flows;
	struct fwd *fwd;
	struct listen *listen;
	struct tcp *tcp;
	struct splice *splice; /* NULL: there is no namespace */
	struct guest *guest;
	struct pcap *pcap;
	int *socket[HANDOVER_SOCKETS]; /* -1: none */
	/* From handover_begin() to the end */
	unsigned step, at;
	bool whole; /* loading: the end was reached */
	bool linked; /* loading: the guest's link was loaded */
	/* Loading: descriptors of the next flow */
	int side[2], pipe[2][2];
	const struct flow *last; /* loading: the last flow */
};

/* handover_lan, handover_load_lan - write and read the body of the section with
 * what the guest was told of its link, and what follows from that; the latter
 * returns false if the data are not sane */
void handover_lan(const struct handover *h, struct wr *w);
bool handover_load_lan(const struct handover *h, struct rd *r);

/* handover_begin - begin to save or to load */
void handover_begin(struct handover *h);

/* handover_save - append the next section, between turns
 * Returns 1 if there are more, 0 after the last; -EAGAIN with the first if it
 * cannot be done now, but in one of the next turns; or another -errno. */
int handover_save(struct handover *h, struct wr *w, struct fdlist *fds);

/* handover_given - all of it belongs to another process now */
void handover_given(struct handover *h);

/* handover_load - take a section with @tag and its descriptors into service; 0
 * or -errno
 * To be called before the filter is set.  Nothing is read from any of the
 * descriptors. */
int handover_load(struct handover *h, uint32_t tag, struct rd *body,
		  struct fdlist *fds);

#endif /* HANDOVER_H */
