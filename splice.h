/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * splice - stream flows between two sockets without the guest
 *
 * One end was accepted at a listener, the other is connected in the other
 * namespace.
 */
#ifndef SPLICE_H
#define SPLICE_H

#include "flow.h"
#include "fwd.h"
#include "ns.h"

enum {
	SPLICE_COPY = 32 << 10,	 /* up to here copying costs no more */
	SPLICE_PIPES = 32,	 /* with all of them full, 32 MiB */
	SPLICE_PIPE = 1 << 20,	 /* /proc/sys/fs/pipe-max-size, by default */
};

struct splice_pipe {
	int fd[2]; /* [0] to read; -1: not made */
	size_t size;
	bool widened; /* as far as the kernel lets it */
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

/* splice_init - registers FLOW_SPLICE with @flows */
void splice_init(struct splice *s, struct flows *flows, struct fwd *fwd,
		 struct ns *ns);

/* splice_accepted - @from was accepted at the listener of @r: connect it
 * Its descriptor is ours from now on. */
void splice_accepted(struct splice *s, const struct rule *r,
		     const struct side *from);

/* splice_pipes - descriptors of pipes that hold bytes of @f: for each way, from side
 * 0 and 1, the end to read and that to write, or -1
 * splice_adopt - they are ours from now on, as @f has been thawed; false: they can't
 * be, and are closed */
void splice_pipes(const struct flow *f, int fd[2][2]);
bool splice_adopt(struct splice *s, struct flow *f, int fd[2][2]);

#endif /* SPLICE_H */
