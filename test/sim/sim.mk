# SPDX-License-Identifier: GPL-2.0-or-later
# The simulator: the real modules on toy sockets, a toy transport and virtual
# time.  What it replaces is not linked; the kernel's calls are wrapped.

SIM_TOYS  := sock sock_repair pcap tap_tun vhost_bell netlink nllink hostnet
SIM_MODS  := $(filter-out $(SIM_TOYS) $(RANK7),$(MODULES)) migrate_stream follow control flowpage
SIM_SRC   := $(wildcard test/sim/*.c)
SIM_OBJ   := $(SIM_SRC:test/sim/%.c=$(B)/sim-%.o) $(B)/sim-of-util.o \
	     $(patsubst %.c,$(B)/%.o,$(filter-out util.c,$(filter $(SIM_MODS:=.c),$(SRC))))
SIM_WRAP  := epoll_create1 epoll_ctl epoll_pwait clock_gettime \
	     clock_nanosleep util_random accept4 recvmsg __recvmsg64 sendmsg __sendmsg64 \
	     send close pipe2 fcntl fcntl64 write splice __clock_gettime64 __clock_nanosleep_time64
SIM_SEEDS ?= 1000
# Seeds out of many that have failed; where what is drawn is another they are as any
SIM_KEPT  := 200022644 200027316 500025883 500032820 600039159 600046872 700006886 \
	     700030123 700039334 91000100 91000448
# Most of the time that all of it takes; empty leaves it out
SIM_BESIDE ?= yes

$(B)/sim: $(SIM_OBJ)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) \
		$(SIM_WRAP:%=-Wl,--wrap=%) -o $@ $(SIM_OBJ)

$(B)/sim-%.o: test/sim/%.c | $(B)
	$(CC) $(ALL_CFLAGS) -I. -MMD -MP -c -o $@ $<

# With -flto what calls util_random() would have it without asking the linker
$(B)/sim-of-util.o: util.c | $(B)
	$(CC) $(ALL_CFLAGS) -fno-lto -MMD -MP -c -o $@ $<

# Each by itself, side by side where make may; the seeds in two halves
SIM_PARTS := scripts lossy $(if $(SIM_BESIDE),beside) seeds more-seeds kept
SIM_HALF   = $(shell echo $$(($(SIM_SEEDS) / 2)))

.PHONY: sim $(SIM_PARTS:%=sim-%)
sim: $(SIM_PARTS:%=sim-%)
$(SIM_PARTS:%=sim-%): $(B)/sim
sim-scripts:
	$(RUN) $< --script $(wildcard test/sim/*.sim)
sim-lossy:
	$(RUN) $< --lossy
sim-beside:
	$(RUN) $< --beside
sim-seeds:
	$(RUN) $< --seeds $(SIM_HALF)
sim-more-seeds:
	$(RUN) $< --from $$(($(SIM_HALF) + 1)) --seeds $$(($(SIM_SEEDS) - $(SIM_HALF)))
sim-kept:
	for seed in $(SIM_KEPT); do $(RUN) $< --seeds 1 --from $$seed || exit; done

# A fuzzer of connections has the same toys; what one input leaves is taken away
SIM_FUZZ  := core sock pipe repair tap rings wire world host rules clients
FUZZ_SIM  := $(SIM_FUZZ:%=build/fuzz/sim-%.o) \
	     $(patsubst %.c,build/fuzz/%.o,$(filter $(SIM_MODS:=.c),$(SRC)))
build/fuzz/sim-%.o: test/sim/%.c | build/fuzz
	$(FUZZ_CC) -Dmalloc=arena_malloc -Dcalloc=arena_calloc -Dfree=arena_free \
		-MMD -MP -c -o $@ $<
build/fuzz/tcp: $(FUZZ_SIM)
build/fuzz/tcp: private FUZZ_CC += $(SIM_WRAP:%=-Wl,--wrap=%) -Wl,--wrap=util_map
