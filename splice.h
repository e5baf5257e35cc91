/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * splice - stream flows between two sockets, past the guest's link
 *
 * One socket was accepted by a listener, the other is connected in the other
 * namespace.
 */
#ifndef SPLICE_H
#define SPLICE_H

#include "flow.h"
#include "fwd.h"
#include "ns.h"

enum {
	SPLICE_COPY = 32 << 10,	 /* up to so many bytes copying costs no more
				    than splice() */
	SPLICE_PIPES = 32,	 /* most pipes; all of them full hold 32 MiB */
	SPLICE_PIPE = 1 << 20,	 /* size of a pipe for bulk: the default of
				    fs.pipe-max-size */
};

struct splice_pipe {
	int fd[2]; /* [0] to read from, [1] to write to; -1: not made */
	size_t size;
	bool widened; /* its size was raised as far as the kernel lets us */
	struct splice_pipe *next;
};

struct splice {
	struct flows *flows;
	struct fwd *fwd;
	struct ns *ns;
	struct splice_pipe pipe[SPLICE_PIPES], *spare, *unmade;
	unsigned spares;
	uint8_t buf[SPLICE_COPY];
};

/* splice_init - set up @s and register FLOW_SPLICE with @flows */
void splice_init(struct splice *s, struct flows *flows, struct fwd *fwd,
		 struct ns *ns);

/* splice_accepted - connect @from, which the listener of rule @r has accepted,
 * to the other namespace
 * Its descriptor is ours from now on; if there is no way the peer is reset. */
void splice_accepted(struct splice *s, const struct rule *r,
		     const struct side *from);

/* splice_pipes - the descriptors of pipes that hold bytes of @f: fd[i] is for
 * bytes from side i, the end to read from and the end to write to, or -1
 * splice_adopt - take over such descriptors for @f, which was thawed before
 * The latter returns false if a pipe that is needed cannot be used; its
 * descriptors are closed then. */
void splice_pipes(const struct flow *f, int fd[2][2]);
bool splice_adopt(struct splice *s, struct flow *f, int fd[2][2]);

#endif /* SPLICE_H */
