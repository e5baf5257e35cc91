/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * marker - a child process that keeps the right to mark sockets (--mark)
 */
#ifndef MARKER_H
#define MARKER_H

#include "sock.h"

/* marker_start - start it: from now on the sockets of @e are made by it, with
 * SO_MARK @mark
 * To be called while we have the right, which later steps take away.  Returns
 * 0, or -errno if the kernel does not let us mark sockets. */
int marker_start(struct sock_env *e, uint32_t mark);

#endif /* MARKER_H */
