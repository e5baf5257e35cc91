/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * marker - a process that keeps the right to mark sockets (--mark)
 */
#ifndef MARKER_H
#define MARKER_H

#include "sock.h"

/* marker_start - from now on the sockets of @e have SO_MARK @mark
 * While we have the right, which later steps take.  0 or -errno: what the kernel
 * says of marking a socket. */
int marker_start(struct sock_env *e, uint32_t mark);

#endif /* MARKER_H */
