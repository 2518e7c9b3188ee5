package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What a hello and its answer may hold, to the byte; at its largest it fits into
// what a connection may send before it is greeted.
func TestHelloBounds(t *testing.T) {
	name, addr := strings.Repeat("n", MaxNameBytes), strings.Repeat("a", MaxAddrBytes)
	most := Hello{Version: 1, MinVersion: 1, Side: PeerSide, Name: name, To: name, PeerAddr: addr, ClientAddr: addr}
	f := func(what string, change func(h *Hello), good bool) {
		t.Helper()
		h := most
		change(&h)
		if _, err := ParseHello(AppendHello(nil, &h)); good != (err == nil) || !good && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("largest", func(*Hello) {}, true)
	f("side 0", func(h *Hello) { h.Side = 0 }, false)
	f("side 3", func(h *Hello) { h.Side = 3 }, false)
	f("name", func(h *Hello) { h.Name += "n" }, false)
	f("to", func(h *Hello) { h.To += "n" }, false)
	f("peer address", func(h *Hello) { h.PeerAddr += "a" }, false)
	f("client address", func(h *Hello) { h.ClientAddr += "a" }, false)
	if n := len(AppendFrame(nil, FrameHello, 0, AppendHello(nil, &most))); n > MaxHelloBytes {
		t.Errorf("hello of %d bytes", n)
	}
	ack := HelloAck{Version: 1, Name: name, ClientAddr: addr}
	g := func(what string, a HelloAck, good bool) {
		t.Helper()
		if _, err := ParseHelloAck(AppendHelloAck(nil, &a)); good != (err == nil) || !good && !errors.Is(err, ErrMalformed) {
			t.Errorf("answer, %s: %v", what, err)
		}
	}
	g("largest", ack, true)
	long := ack
	long.Name += "n"
	g("name", long, false)
	long = ack
	long.ClientAddr += "a"
	g("client address", long, false)
}

// A configuration has 64 members at most, in the log and in a status.
func TestMembersAreBounded(t *testing.T) {
	f := func(n int, good bool) {
		t.Helper()
		m := Membership{NextID: NodeID(n + 1)}
		for i := range n {
			m.Members = append(m.Members, Member{ID: NodeID(i + 1), Name: fmt.Sprintf("n%d", i), Role: Voter})
		}
		s := NodeStatus{Name: "n", Role: RoleFollower, State: StateOK, Members: m.Members}
		_, parsed := ParseMembership(AppendMembership(nil, &m))
		_, status := ParseStatus(AppendStatus(nil, &s))
		for _, err := range []error{m.Check(), parsed, status} {
			if good != (err == nil) || !good && !errors.Is(err, ErrMalformed) {
				t.Errorf("%d members: %v", n, err)
			}
		}
	}
	f(MaxMembers, true)
	f(MaxMembers+1, false)
	joint := Membership{NextID: 2, Members: []Member{{ID: 1, Name: "n", Role: Voter}}, Outgoing: make([]NodeID, MaxMembers+1)}
	if _, err := ParseMembership(AppendMembership(nil, &joint)); !errors.Is(err, ErrMalformed) {
		t.Errorf("outgoing voters: %v", err)
	}
}
