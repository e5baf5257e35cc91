/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate - the state of a guest's connections, to and from another host
 */
#ifndef MIGRATE_H
#define MIGRATE_H

#include "device_state.h"
#include "guest.h"

struct migrate {
	struct device_state state;
};

/* migrate_init - plants what is called in @m->state */
void migrate_init(struct migrate *m);

#endif /* MIGRATE_H */
