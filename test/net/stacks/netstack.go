// SPDX-License-Identifier: GPL-2.0-or-later

// A guest whose TCP/IP is gVisor's netstack.  Arguments and commands are those of
// lwip.c.  Built by test_stacks.py, with Debian's golang-gvisor-gvisor-dev.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/adler32"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/bufferv2"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	patternSize = 65521
	mtu         = 1500
	nic         = 1
	mac         = tcpip.LinkAddress("\x52\x54\x00\x12\x34\x57")
	answer      = 60 * time.Second
)

var (
	pattern  [patternSize]byte
	lossPPM  uint64
	netstack *stack.Stack
	out      sync.Mutex
)

func say(format string, args ...any) {
	out.Lock()
	defer out.Unlock()
	fmt.Printf(format+"\n", args...)
}

func isLost(state *uint32) bool {
	*state = *state*1664525 + 1013904223
	return uint64(*state>>8)*1000000>>24 < lossPPM
}

func makePattern() {
	n := uint32(1)
	for i := range pattern {
		n = n*1664525 + 1013904223
		pattern[i] = byte(n >> 24)
	}
}

// The link

func input(conn net.Conn, ep *channel.Endpoint) {
	in := bufio.NewReaderSize(conn, 1<<18)
	state := uint32(2)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			os.Exit(0)
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			os.Exit(0)
		}
		if isLost(&state) {
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{
			Payload: bufferv2.MakeWithData(frame)})
		ep.InjectInbound(0, p)
		p.DecRef()
	}
}

func output(conn net.Conn, ep *channel.Endpoint) {
	state := uint32(1)
	for {
		p := ep.ReadContext(context.Background())
		if p.IsNil() {
			return
		}
		frame := p.ToView().AsSlice()
		p.DecRef()
		if isLost(&state) {
			continue
		}
		size := binary.BigEndian.AppendUint32(nil, uint32(len(frame)))
		if _, err := conn.Write(append(size, frame...)); err != nil {
			return
		}
	}
}

func address(text string) (tcpip.Address, tcpip.NetworkProtocolNumber) {
	ip := net.ParseIP(text)
	if v4 := ip.To4(); v4 != nil {
		return tcpip.Address(v4), ipv4.ProtocolNumber
	}
	return tcpip.Address(ip), ipv6.ProtocolNumber
}

func startLink(args []string) {
	conn, err := net.Dial("unix", args[1])
	if err != nil {
		log.Fatal(err)
	}
	netstack = stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{
			arp.NewProtocol, ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol,
			icmp.NewProtocol4, icmp.NewProtocol6},
	})
	sack := tcpip.TCPSACKEnabled(true)
	netstack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	ep := channel.New(1024, mtu+header.EthernetMinimumSize, mac)
	if err := netstack.CreateNIC(nic, ethernet.New(ep)); err != nil {
		log.Fatal(err)
	}
	for _, i := range []int{2, 4} {
		a, proto := address(args[i])
		prefix := 24
		if proto == ipv6.ProtocolNumber {
			prefix = 64
		}
		if err := netstack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol: proto,
			AddressWithPrefix: tcpip.AddressWithPrefix{
				Address: a, PrefixLen: prefix}},
			stack.AddressProperties{}); err != nil {
			log.Fatal(err)
		}
		netstack.AddRoute(tcpip.Route{NIC: nic, Destination: tcpip.
			AddressWithPrefix{Address: a, PrefixLen: prefix}.Subnet()})
	}
	gateway, _ := address(args[3])
	netstack.AddRoute(tcpip.Route{NIC: nic, Gateway: gateway,
		Destination: header.IPv4EmptySubnet})
	go input(conn, ep)
	go output(conn, ep)
}

// What it is told to do

func reach(text string, port uint16) (*gonet.TCPConn, error) {
	a, proto := address(text)
	ctx, cancel := context.WithTimeout(context.Background(), answer)
	defer cancel()
	return gonet.DialContextTCP(ctx, netstack,
		tcpip.FullAddress{NIC: nic, Addr: a, Port: port}, proto)
}

func broken(err error) string {
	if err != nil && err != io.EOF {
		return " broken"
	}
	return ""
}

func get(tag, addr string, port uint16, pause time.Duration) {
	c, err := reach(addr, port)
	if err != nil {
		say("%s refused %v", tag, err)
		return
	}
	defer c.Close()
	sum, buf, bytes := adler32.New(), make([]byte, 16384), 0
	paused := false
	time.Sleep(pause)
	for {
		c.SetReadDeadline(time.Now().Add(answer))
		n, err := c.Read(buf)
		sum.Write(buf[:n])
		bytes += n
		if err != nil {
			say("%s %d %d%s", tag, bytes, sum.Sum32(), broken(err))
			return
		}
		if bytes > 100000 && !paused {
			paused = true
			time.Sleep(pause)
		}
	}
}

func put(tag, addr string, port uint16, left int) {
	c, err := reach(addr, port)
	if err != nil {
		say("%s refused %v", tag, err)
		return
	}
	defer c.Close()
	for at := 0; left > 0 && err == nil; {
		part := patternSize - at
		if part > left {
			part = left
		}
		part, err = c.Write(pattern[at : at+part])
		at = (at + part) % patternSize
		left -= part
	}
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(answer))
	text, got := io.ReadAll(c)
	if err == nil {
		err = got
	}
	say("%s %s%s", tag, text, broken(err))
}

func datagram(tag, addr string, port uint16, size int) {
	a, proto := address(addr)
	c, err := gonet.DialUDP(netstack, nil,
		&tcpip.FullAddress{NIC: nic, Addr: a, Port: port}, proto)
	if err == nil {
		_, err = c.Write(append([]byte{}, pattern[:size]...))
	}
	if err != nil {
		say("%s refused %v", tag, err)
		return
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(answer))
	buf := make([]byte, 65536)
	n, err := c.Read(buf)
	if err != nil {
		n = -1
	} else if !bytes.Equal(buf[:n], pattern[:n]) {
		err = io.ErrUnexpectedEOF
	}
	say("%s %d%s", tag, n, broken(err))
}

func serve(tag string, port uint16) {
	any := tcpip.FullAddress{NIC: nic, Port: port}
	u, err := gonet.DialUDP(netstack, &any, nil, ipv6.ProtocolNumber)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		buf := make([]byte, 65536)
		for {
			if n, from, err := u.ReadFrom(buf); err == nil {
				u.WriteTo(buf[:n], from)
			}
		}
	}()
	l, err := gonet.ListenTCP(netstack, any, ipv6.ProtocolNumber)
	if err != nil {
		log.Fatal(err)
	}
	say("%s serves", tag)
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			io.Copy(c, c)
			c.Close()
		}()
	}
}

func main() {
	if len(os.Args) != 6 {
		log.Fatal("five arguments are wanted")
	}
	lossPPM, _ = strconv.ParseUint(os.Args[5], 10, 32)
	makePattern()
	startLink(os.Args)
	say("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what, tag, addr string
		var port uint16
		var number int
		if n, _ := fmt.Sscanf(lines.Text(), "serve %s %d",
			&tag, &port); n == 2 {
			go serve(tag, port)
			continue
		}
		if n, _ := fmt.Sscan(lines.Text(), &what, &tag, &addr, &port,
			&number); n != 5 {
			log.Fatalf("what is: %s", lines.Text())
		}
		switch what {
		case "get":
			go get(tag, addr, port,
				time.Duration(number)*time.Millisecond)
		case "put":
			go put(tag, addr, port, number)
		case "udp":
			go datagram(tag, addr, port, number)
		default:
			say("%s unknown", tag)
		}
	}
}
