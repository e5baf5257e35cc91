# SPDX-License-Identifier: GPL-2.0-or-later
#
# make            build passt and its links pasta, pesto, qrap and slirp4netns
# make run        a shell (or CMD='...') in a namespace that has the network
# make check      what can be tested anywhere, in less than a minute
# make check-all  build and pass all tests; as root, installs what it needs
# make bench      measure against another build, PEER=path (PATHS, SECONDS)
# make chart      draw what bench measured, doc/performance.svg
# make picture    draw what pesto --top shows, doc/top.svg
# make check-late what happens after minutes, in seconds; other libcs
# make check-peer with the passt, pasta and pesto of Debian unstable
# make check-packages what contrib/ has for distributions, by their own tools
# make hostile    a guest that means harm, SECONDS on each transport, SEED=
# make faults     system calls of a running daemon fail, one by one
# make soak       mixed traffic on all transports for HOURS
# make coverage   lines and branches that the tests reach
# make prove      what CBMC can prove of bounds
# make ceilings   count system calls and instructions
# make lint       module ladder, calls against the filters, options against the
#                 manual, report

# A tarball has it in a file, a clone of ours in the history; root, who installs
# what a user built, may not look into that
VERSION ?= $(shell cat VERSION 2>/dev/null || { test -e .git && \
	git log -1 --date=format:%Y%m%d --format=0.%cd.%h; } 2>/dev/null || \
	cat build/default/version 2>/dev/null || echo 0)
VERSION := $(VERSION)
prefix  ?= /usr/local
bindir  ?= $(prefix)/bin
mandir  ?= $(prefix)/share/man
docdir  ?= $(prefix)/share/doc/passt
datadir ?= $(prefix)/share

CC      ?= cc
NM      ?= nm
CFLAGS  ?= -O2 -g
# What is an error by itself since gcc 14 is one for older compilers, too
WARN    := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wformat=2 -Wvla \
	$(addprefix -Werror=,implicit-function-declaration implicit-int int-conversion \
		incompatible-pointer-types)
# A capture may be longer than 2 GiB, and an inode's number have more than 32 bits
ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(CPPFLAGS) $(WARN) -fstack-protector-strong $(CFLAGS) \
	-DVERSION='"$(VERSION)"'
ALL_LDFLAGS = -Wl,-z,relro,-z,now $(LDFLAGS)

# The module ladder, lowest rank first: make lint proves that calls go down
RANK0 := util log events addr addrset resolvconf cursor siphash md5
RANK1 := iov checksum packet segment frag nlmsg state fdlist
RANK2 := timer loop acceptor http netlink nllink
RANK3 := pcap tap tap_stream tap_tun vhost_mem virtq vhost_bell \
	 device_state vhost_user tap_vhost
RANK4 := flow freeze sock sock_repair ns rules rulewire dnsanswer egress fwd listen neigh dnsname boot rkap hostnet emit
RANK5 := arp ndp dhcp dhcpv6 mcast icmp echo tftp udp_splice mcast_sock udp_flow udp_freeze udp_out \
	 udp_in udp chunk ahead splice tcp_conn tcp_path tcp_freeze tcp_image tcp_loss tcp_out tcp_in tcp
RANK6 := guest
RANK7 := metrics flowpage eventpage stats options conf plan summary renew resolv nslink neighwatch follow scan repair migrate_stream migrate handover fdstore takeover control fetch flowtab \
	 top pesto qrap hostfwd slirp4netns passt_repair pasta sandbox isolation marker passt
MODULES := $(RANK0) $(RANK1) $(RANK2) $(RANK3) $(RANK4) $(RANK5) $(RANK6) $(RANK7)
SRC := $(filter $(wildcard *.c),$(MODULES:=.c))

# What the program is called, besides
NAMES := pasta pesto qrap passt-repair slirp4netns

B ?= build/default
OBJ := $(SRC:%.c=$(B)/%.o)

.PHONY: all run check check-all check-fast check-net check-san check-guests check-callers check-install check-late late-root check-peer \
	check-builds check-kernels check-packages hostile faults soak coverage prove calls has-cmocka unit no-unit sim fuzz lint clean install uninstall dist deb debian rpm deps bench chart picture ceilings
all: passt $(NAMES) $(B)/completions/_passt

# Renamed into place: it may be running
passt: $(B)/passt
	cp $< $@.new && mv -f $@.new $@
$(NAMES): passt
	ln -sf passt $@

$(B)/passt: $(OBJ)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJ)
	for l in $(NAMES); do ln -sf passt $(B)/$$l; done

$(B)/%.o: %.c | $(B)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# What they say of themselves is not older than the rest
$(B)/version: FORCE | $(B)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
$(B)/options.o $(B)/passt.o $(B)/metrics.o: $(B)/version
FORCE:

# The system call filters, from the notes beside the calls
$(B)/seccomp.h: seccomp.sh $(filter-out passt_repair.c,$(SRC)) | $(B)
	CC="$(CC)" ./seccomp.sh $@ $(filter-out passt_repair.c,$(SRC))
$(B)/seccomp_repair.h: seccomp.sh passt_repair.c | $(B)
	CC="$(CC)" ./seccomp.sh $@ passt_repair.c
$(B)/isolation.o: ALL_CFLAGS += -I$(B)
$(B)/isolation.o: $(B)/seccomp.h
$(B)/passt_repair.o: ALL_CFLAGS += -I$(B)
$(B)/passt_repair.o: $(B)/seccomp_repair.h

$(B):
	mkdir -p $@

# Each function by itself, for who calls whom
$(B)/calls/%.o: %.c | $(B)/calls
	$(CC) -std=c11 -D_GNU_SOURCE -DVERSION='"lint"' -I$(B) -O0 \
		$(CPPFLAGS) -U_FORTIFY_SOURCE -ffunction-sections -fdata-sections -MMD -MP -c -o $@ $<
$(B)/calls/isolation.o: $(B)/seccomp.h
$(B)/calls/passt_repair.o: $(B)/seccomp_repair.h
$(B)/calls:
	mkdir -p $@

# Fuzzers are built by others, and have stand-ins for what modules declare
lint: calls $(OBJ)
	$(CC) -std=c11 -D_GNU_SOURCE -DVERSION='"lint"' -I. -I$(B) $(CPPFLAGS) \
		$(filter -Werror%,$(WARN)) -fsyntax-only $(FUZZERS:%=test/fuzz/%.c)
	NM="$(NM)" test/lint $(B)

calls: $(SRC:%.c=$(B)/calls/%.o)
	test/calls $(B)/calls $(B)/seccomp.h

# --- run ----------------------------------------------------------------------

# A shell in a namespace that has the network, or what CMD says
run: all
ifdef CMD
	./pasta --config-net -- /bin/sh -c '$(subst ','\'',$(value CMD))'
else
	./pasta --config-net
endif

# --- tests --------------------------------------------------------------------

# What the tests need, installed if it is missing and we may
deps:
	@test/deps || echo "Testing with what there is." >&2

UNITS   := $(patsubst test/unit/%.c,%,$(wildcard test/unit/*.c))
FUZZERS := $(patsubst test/fuzz/%.c,%,$(wildcard test/fuzz/*.c))
SAN     := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_S  ?= 5
FUZZ_SEED ?= 1
BRIDGE  := build/perf/bridge build/perf/front build/perf/refuse build/perf/hostile
JOBS    ?= $(shell nproc)
PYTEST  := /usr/bin/python3 -m pytest -q -p no:cacheprovider
# Tests side by side, in namespaces of their own; most of the time they wait
MANY     = $(shell /usr/bin/python3 -c 'import xdist' 2>/dev/null && \
	echo "--dist loadgroup -n $$((3 * $(JOBS)))")

# The modules that a test names in its second line, besides its own
linked = $(sort $(filter $(SRC),$(1).c $(patsubst %,%.c,$(shell \
	sed -n '2s,^/\* unit:\(.*\)\*/,\1,p' $(2)))))

# cmocka 2 deprecates names that cmocka 1 has no others for; of no version does gcc
# know that a failed assertion is the end, and clang has no such warning
CMOCKA_FLAGS := -Wno-deprecated-declarations \
	-Wno-unknown-warning-option -Wno-maybe-uninitialized

define unit_rule
$(B)/unit/$(1): test/unit/$(1).c $$(patsubst %.c,$(B)/%.o,$$(call linked,$(1),test/unit/$(1).c)) | $(B)/unit
	$$(CC) $$(ALL_CFLAGS) $$(CMOCKA_FLAGS) -I. -Itest/unit -o $$@ $$^ $$(LDFLAGS) -lcmocka
endef
$(foreach u,$(UNITS),$(eval $(call unit_rule,$(u))))

# Modules are compiled once for all fuzzers
FUZZ_CC := clang -std=c11 -D_GNU_SOURCE -g1 -O1 -fsanitize=fuzzer-no-link,address,undefined -I. \
	-DVERSION='"fuzz"'

build/fuzz/%.o: %.c | build/fuzz
	$(FUZZ_CC) -MMD -MP -c -o $@ $<
-include $(wildcard build/fuzz/*.d)

define fuzz_rule
build/fuzz/$(1): test/fuzz/$(1).c $$(patsubst %.c,build/fuzz/%.o,$$(call linked,$(1),test/fuzz/$(1).c)) | build/fuzz
	$$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $$@ $$(filter test/% %.o,$$^)
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$(f))))
# What is included
build/fuzz/pages: fetch.c
build/fuzz/repair: passt_repair.c
build/fuzz/successor: takeover.c

# Of whose two ends one is a program with a filter
build/fuzz/repair: private FUZZ_CC += -I$(B)
build/fuzz/repair: passt_repair.c | $(B)/seccomp_repair.h

$(B)/unit build/fuzz:
	mkdir -p $@

# What the units are written with, if it is there for this compiler
CMOCKA = $(shell echo 'int main(void) { return 0; }' | $(CC) $(CFLAGS) $(LDFLAGS) -xc \
	-o /dev/null - -lcmocka 2>/dev/null && echo yes)
.SECONDEXPANSION:
unit: $$(if $$(CMOCKA),$(UNITS:%=unit-%),no-unit)
has-cmocka:
	@test -n '$(CMOCKA)'
no-unit:
	@echo "unit: skipped, $(CC) finds no cmocka"

$(UNITS:%=unit-%): unit-%: $(B)/unit/%
	@$(RUN) $< >$<.log 2>&1 || { cat $<.log; exit 1; }
	@tail -n 1 $<.log | sed 's,^,$*: ,'

# A run of each fuzzer from the saved corpus, FUZZ_S seconds each: the same inputs
# each time, so that a failure can be had again, and others with FUZZ_SEED=0
fuzz: $(FUZZERS:%=fuzz-%)

$(FUZZERS:%=fuzz-%): fuzz-%: build/fuzz/%
	@mkdir -p build/fuzz/corpus/$*
	@$< -seed=$(FUZZ_SEED) -max_total_time=$(FUZZ_S) -artifact_prefix=build/fuzz/ \
		build/fuzz/corpus/$* $(wildcard test/fuzz/corpus/$*) \
		>$<.log 2>&1 || { tail -n 40 $<.log; exit 1; }
	@echo "fuzz $*: $$(sed -n 's/^Done \(.*\) in.*/\1/p' $<.log)"

include test/sim/sim.mk

# For whoever packages it, anywhere: no root, no network, nothing but a compiler;
# what cannot be done is skipped and said.  A minute: so there are fewer seeds, and
# no turns beside bulk
check:
	@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS)) \
		SIM_SEEDS=200 SIM_BESIDE= unit sim check-install

check-install: all
	+@test/install

# The same and more for whoever changes it
check-fast: unit sim check-install lint

# What measures has the machine for itself; ceilings has the rest of that
check-net: all $(BRIDGE)
	$(PYTEST) $(MANY) -m 'not alone' test/net
	$(PYTEST) -m alone --ignore=test/net/test_ceilings.py test/net

# The same with the sanitizers, but for how much memory is in use and how many
# calls are made, for turns beside bulk, which are counted and no path of their own,
# and for virtual machines: what they have the daemon do, guests behind the bridge
# do, too, and in a tenth of the time
check-san: $(BRIDGE)
	$(MAKE) B=build/asan CFLAGS="-O1 -g1 $(SAN)" SIM_BESIDE= unit sim build/asan/passt
	PASST_DIR=$(CURDIR)/build/asan ASAN_OPTIONS=detect_leaks=0 \
		$(PYTEST) $(MANY) -m 'not alone and not machine' test/net

# The hostile guest of test/hostile, SECONDS on each transport, with the sanitizers
SEED    ?= 1
REST    ?= 0
hostile: $(BRIDGE)
	$(MAKE) B=build/asan CFLAGS="-O1 -g1 $(SAN)" build/asan/passt
	PASST_DIR=$(CURDIR)/build/asan ASAN_OPTIONS=detect_leaks=0 HOSTILE_S=$(SECONDS) \
		HOSTILE_SEED=$(SEED) HOSTILE_REST=$(REST) $(PYTEST) -s test/net/test_hostile.py

# Each error of each call, with the real filter but for what strace makes of them;
# an hour for each transport.  CALLS='^socket$$' is a part
CALLS   ?= .
faults: $(BRIDGE)
	$(MAKE) B=build/faults CFLAGS="-O1 -g -DSECCOMP_FAULTS" build/faults/passt
	PASST_DIR=$(CURDIR)/build/faults FAULTS='$(CALLS)' \
		$(PYTEST) -s test/net/test_faults.py

# Half an hour on two CPUs; virtual machines and what measures are left out
coverage:
	test/coverage

# Skipped and said where there is no cbmc
prove:
	test/prove/run

HOURS   ?= 1
soak: all $(BRIDGE)
	/usr/bin/python3 test/net/soak.py $(HOURS) build/soak

# What happens late, under the real filter, by a clock that runs 100 times as
# fast; also with musl, and with a newer glibc where there is a root that has it
check-late: $(BRIDGE)
	test/late
late-root:
	test/late root

# Other cards and firmware as guests, some minutes; doc/guests.md
check-guests: all $(BRIDGE)
	test/deps guests
	test/guests
	$(PYTEST) test/net/test_discovery.py test/net/test_manager.py \
		test/net/test_stacks.py

# Clients and servers of Debian unstable's passt and ours with each other, from a
# root directory that is made once; without, check-net skips them
check-peer: all $(BRIDGE)
	test/peer

# Programs that start us, from a root of Debian unstable; doc/callers.md
check-callers: all $(BRIDGE)
	$(PYTEST) -s test/net/callers.py

# On kernels of other Debian releases, emulated; a quarter of an hour each
check-kernels: all $(UNITS:%=$(B)/unit/%) $(BRIDGE)
	test/kernels $(SUITES)

# With what compilers and for what machines there are; an hour
check-builds:
	test/builds

# Recipes, profiles, units and completions of contrib/, with what tools there are
check-packages: all $(BRIDGE)
	+@test/packages/run

# Instructions for a fixed amount of work, system calls for what alternates and
# for a gigabyte; each row is printed as the tables have it
ceilings: all $(B)/sim $(BRIDGE)
	test/sim/ceilings.py $(B)/sim
	$(PYTEST) -s test/net/test_ceilings.py

check-all: deps
	$(MAKE) -j$(JOBS) -Otarget check-fast fuzz
	$(MAKE) -j$(JOBS) -Otarget check-san late-root
	$(MAKE) -j$(JOBS) check-net
	$(MAKE) check-late
	$(MAKE) ceilings

# --- measurements -------------------------------------------------------------

# Side by side with another build, path by path: numbers, no verdict.
# PATHS='tap-rr tap-tcp-in' runs a part; PEER= is a passt, its pasta beside it,
# or "unstable": the package of Debian unstable, see test/peer
PEER    ?= /usr/bin/passt
SECONDS ?= 5
REPEATS ?= 9
PERF    := $(patsubst test/perf/%.c,build/perf/%,$(wildcard test/perf/*.c))

build/perf/bridge build/perf/front: test/perf/lanes.h
build/perf/front build/perf/hostile: test/vhost.h
# A hostile guest: all of its directory
build/perf/hostile: $(wildcard test/hostile/*.[ch])
	mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -o $@ $(filter %.c,$^)
# With our sums: what is compared is the rest
build/perf/floor: test/perf/floor.c checksum.c
	mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -I. -o $@ $^ -lpthread
build/perf/%: test/perf/%.c
	mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -o $@ $< -lpthread

bench: all $(PERF)
	@test/deps bench || echo "Measuring with what there is." >&2
	/usr/bin/python3 test/perf/bench.py \
		--peer '$(if $(filter unstable,$(PEER)),$(shell test/peer programs),$(PEER))' \
		--seconds $(SECONDS) --repeats $(REPEATS) $(if $(PAIR),--pair) --with='$(WITH)' \
		$(foreach p,$(PATHS),'$(p)')

JSON ?= build/bench.json

chart:
	@test/deps chart
	/usr/bin/python3 test/perf/chart.py '$(JSON)' doc/performance.svg

# What pesto --top shows of real traffic, doc/top.svg
picture: all $(BRIDGE)
	$(PYTEST) test/net/picture.py

# --- packaging ----------------------------------------------------------------

DIST := passt-$(VERSION)

# What was committed, and which version that is: the same bytes whoever makes it
dist:
	@test -e .git || { echo "dist: this is no clone of the repository" >&2; exit 1; }
	mkdir -p build/dist
	echo '$(VERSION)' >build/dist/VERSION
	git -c tar.umask=0022 archive --prefix=$(DIST)/ --add-file=build/dist/VERSION \
		HEAD >build/$(DIST).tar
	xz -T1 -6 -f build/$(DIST).tar
	@echo build/$(DIST).tar.xz

# Packages for the Debian release that this runs on
deb: dist
	rm -rf build/deb && mkdir -p build/deb
	tar -C build/deb -xf build/$(DIST).tar.xz
	$(MAKE) -C build/deb/$(DIST) debian
	cd build/deb/$(DIST) && dpkg-buildpackage -us -uc -b

# What makes a tarball's tree one that dpkg-buildpackage takes
debian:
	mkdir -p debian && cp -r contrib/debian/. debian
	{ echo "passt2 ($(VERSION)) unstable; urgency=medium"; echo; \
		echo "  * See doc/architecture.md and the history."; echo; \
		echo " -- $$(sed -n 's/^Maintainer: //p' debian/control)  $$(date -R)"; \
		} >debian/changelog

# The same for rpm, in $(RPM)
RPM ?= $(CURDIR)/build/rpm
rpm: dist
	rm -rf '$(RPM)/BUILD' '$(RPM)/RPMS'
	mkdir -p '$(RPM)/SPECS' '$(RPM)/SOURCES'
	cp build/$(DIST).tar.xz '$(RPM)/SOURCES'
	sed 's/@VERSION@/$(VERSION)/' contrib/rpm/passt2.spec >'$(RPM)/SPECS/passt2.spec'
	rpmbuild --define '_topdir $(RPM)' -ba $(RPMFLAGS) '$(RPM)/SPECS/passt2.spec'

# Needs the program to run: where it is for another machine there is none
$(B)/completions/_passt: $(B)/passt contrib/completions/generate
	contrib/completions/generate $(B) $(@D) || \
		echo "No completions for zsh and fish." >&2

# Of these; with slirp4netns it would take the place of another package
LINKS   ?= pasta pesto qrap passt-repair
BASHDIR := $(datadir)/bash-completion/completions
ZSHDIR  := $(datadir)/zsh/site-functions
FISHDIR := $(datadir)/fish/vendor_completions.d
# Where it goes, which may have blanks
to = "$(DESTDIR)$(1)"

# Documents keep their places below $(docdir), so that their links lead somewhere
install: all
	install -d $(call to,$(bindir)) $(call to,$(mandir)/man1) \
		$(call to,$(BASHDIR)) $(call to,$(ZSHDIR)) \
		$(call to,$(FISHDIR)) $(call to,$(docdir)/doc) \
		$(call to,$(docdir)/LICENSES)
	install -m 755 passt $(call to,$(bindir)/passt)
	for l in $(LINKS); do ln -sf passt $(call to,$(bindir))/$$l; done
	for l in passt $(LINKS); do \
		install -m 644 doc/$$l.1 $(call to,$(mandir)/man1); done
	install -m 644 contrib/completions/passt.bash $(call to,$(BASHDIR)/passt)
	for l in pasta pesto; do ln -sf passt $(call to,$(BASHDIR))/$$l; done
	! test -e $(B)/completions/_passt || \
		install -m 644 $(B)/completions/_passt $(call to,$(ZSHDIR))
	! test -e $(B)/completions/_passt || \
		install -m 644 $(B)/completions/*.fish $(call to,$(FISHDIR))
	install -m 644 README.md CONTRIBUTING.md $(call to,$(docdir))
	install -m 644 doc/*.md doc/*.svg doc/*.1 $(call to,$(docdir)/doc)
	install -m 644 LICENSES/*.txt $(call to,$(docdir)/LICENSES)
	install -d $(call to,$(docdir)/contrib)
	cd contrib && cp -R apparmor completions prometheus selinux systemd $(call to,$(docdir)/contrib)

uninstall:
	for l in passt $(LINKS); do rm -f $(call to,$(bindir))/$$l \
		$(call to,$(mandir)/man1)/$$l.1 $(call to,$(BASHDIR))/$$l \
		$(call to,$(FISHDIR))/$$l.fish; done
	rm -f $(call to,$(ZSHDIR)/_passt)
	rm -rf $(call to,$(docdir))

-include $(wildcard $(B)/*.d $(B)/calls/*.d)

clean:
	rm -rf build passt $(NAMES)
