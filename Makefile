# SPDX-License-Identifier: GPL-2.0-or-later
#
# make            build passt and its link pasta
# make run        a shell (or CMD='...') in a namespace that has the network
# make check      build and pass all tests
# make lint       module ladder, options against the manual, report

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
prefix  ?= /usr/local
bindir  ?= $(prefix)/bin
mandir  ?= $(prefix)/share/man
docdir  ?= $(prefix)/share/doc/passt

CC      ?= cc
NM      ?= nm
CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wformat=2 -Wvla
ALL_CFLAGS  = -std=c11 -D_GNU_SOURCE $(WARN) -fstack-protector-strong $(CFLAGS) -DVERSION='"$(VERSION)"'
ALL_LDFLAGS = -Wl,-z,relro,-z,now $(LDFLAGS)

# The module ladder, lowest rank first: make lint proves that calls go down
RANK0 := util log addr cursor siphash
RANK1 := iov checksum packet segment
RANK2 := timer loop
RANK3 := pcap tap tap_stream tap_tun
RANK4 := flow sock rules fwd neigh dnsname
RANK5 := arp ndp dhcp dhcpv6 icmp udp chunk tcp_conn tcp_out tcp_in tcp
RANK6 := guest
RANK7 := stats options conf netlink pasta isolation passt
MODULES := $(RANK0) $(RANK1) $(RANK2) $(RANK3) $(RANK4) $(RANK5) $(RANK6) $(RANK7)
SRC := $(filter $(wildcard *.c),$(MODULES:=.c))

B ?= build/default
OBJ := $(SRC:%.c=$(B)/%.o)

.PHONY: all run check unit lint clean install uninstall
all: passt pasta

passt: $(B)/passt
	cp $< $@
pasta: passt
	ln -sf passt $@

$(B)/passt: $(OBJ)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJ)

$(B)/%.o: %.c | $(B)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B):
	mkdir -p $@

lint: $(OBJ)
	NM="$(NM)" test/lint $(B)

-include $(wildcard $(B)/*.d)

clean:
	rm -rf build passt pasta
