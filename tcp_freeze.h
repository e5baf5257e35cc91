/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_freeze - connections as sections of a state; internal to tcp*.c, but for
 * the last two functions
 */
#ifndef TCP_FREEZE_H
#define TCP_FREEZE_H

#include "state.h"
#include "tcp_conn.h"

/* tcp_freeze, tcp_thaw, tcp_forget - the functions of struct flow_type */
void tcp_freeze(void *owner, struct flow *f, struct wr *w);
bool tcp_thaw(void *owner, struct flow *f, struct rd *r);
void tcp_forget(void *owner, struct flow *f);

/* tcp_save, tcp_load - write and read the body of the section with what all
 * connections share, and with past connections */
void tcp_save(struct tcp *t, struct wr *w);
void tcp_load(struct tcp *t, struct rd *r);

#endif /* TCP_FREEZE_H */
