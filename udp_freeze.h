/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_freeze - datagram flows as sections of a state; internal to udp*.c
 */
#ifndef UDP_FREEZE_H
#define UDP_FREEZE_H

#include "udp.h"

/* udp_freeze, udp_thaw - freeze() and thaw() of struct flow_type */
void udp_freeze(void *owner, struct flow *f, struct wr *w);
bool udp_thaw(void *owner, struct flow *f, struct rd *r);

#endif /* UDP_FREEZE_H */
