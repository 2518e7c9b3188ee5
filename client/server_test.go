package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is a set of scripted nodes that a client under test dials. Nothing
// in it is a real cluster: each node answers from one shared store, by the
// script of its test.
type network struct {
	mu    sync.Mutex
	nodes map[string]*scripted
	store *store
	tcp   bool
	wg    sync.WaitGroup
}

// scripted is one node. The fields may be changed under mu while it runs.
type scripted struct {
	net  *network
	addr string // as the client knows it

	mu     sync.Mutex
	down   bool // refuses connections
	ack    wire.HelloAck
	refuse *wire.Error // instead of an ack
	status wire.NodeStatus
	// script gets each request first; false: the store answers.
	script func(p *link, f wire.Frame) bool
	links  map[*link]bool
	dials  int
}

// link is the node's end of one connection. Its session holds the client to
// the protocol: what it does not allow is a panic.
type link struct {
	node    *scripted
	net     net.Conn
	mu      sync.Mutex
	session wire.Session
	sizes   map[uint64]int // of the requests in flight
	seen    int            // requests so far
	most    int            // in flight at once
}

func newNetwork(t testing.TB, names ...string) *network {
	nw := &network{nodes: map[string]*scripted{}, store: newStore()}
	for i, name := range names {
		nw.add(name)
		nw.nodes[name].status.ID = wire.NodeID(i + 1)
	}
	if t != nil {
		t.Cleanup(nw.close)
	}
	nw.lead(names[0])
	return nw
}

func (nw *network) add(addr string) *scripted {
	s := &scripted{
		net: nw, addr: addr, links: map[*link]bool{},
		ack: wire.HelloAck{
			Version: wire.Version, Name: addr, MaxFrame: wire.MaxFrameBytes,
			Requests: wire.MaxConnRequests, Bytes: wire.MaxConnBytes,
		},
		status: wire.NodeStatus{Name: addr, Role: wire.RoleFollower, State: wire.StateOK},
	}
	nw.nodes[addr] = s
	return s
}

// lead makes one node the leader in every node's status; the others refuse
// writes and reads with its address.
func (nw *network) lead(leader string) {
	nw.mu.Lock()
	defer nw.mu.Unlock()
	var members []wire.Member
	for addr, s := range nw.nodes {
		members = append(members, wire.Member{
			ID: s.status.ID, Name: strings.Split(addr, ":")[0], Role: wire.Voter, PeerAddr: addr, ClientAddr: addr,
		})
	}
	slices.SortFunc(members, func(a, b wire.Member) int { return int(a.ID) - int(b.ID) })
	for addr, s := range nw.nodes {
		s.mu.Lock()
		s.status.Members = members
		s.status.Term++
		s.status.Leader, s.status.Role = 0, wire.RoleFollower
		if leader != "" {
			s.status.Leader = nw.nodes[leader].status.ID
		}
		if addr == leader {
			s.status.Role = wire.RoleLeader
		}
		s.mu.Unlock()
	}
}

func (nw *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	nw.mu.Lock()
	s := nw.nodes[addr]
	nw.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("no such host %s", addr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.down {
		return nil, errors.New("connection refused")
	}
	var ours, theirs net.Conn
	if nw.tcp {
		var err error
		if ours, theirs, err = tcpPair(); err != nil {
			return nil, err
		}
	} else {
		ours, theirs = net.Pipe()
	}
	p := &link{node: s, net: theirs, sizes: map[uint64]int{}}
	p.session = wire.NewSession(wire.SessionConfig{
		Side: wire.ClientSide, Accepts: true, Requests: int(s.ack.Requests), Bytes: int(s.ack.Bytes),
	}, 0)
	s.links[p] = true
	nw.wg.Go(p.serve)
	return ours, nil
}

func tcpPair() (net.Conn, net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	b, err := l.Accept()
	return a, b, err
}

func (nw *network) close() {
	for _, s := range nw.nodes {
		s.cut()
	}
	nw.wg.Wait()
}

// cut closes all connections of a node.
func (s *scripted) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.links {
		p.net.Close()
	}
}

// stop makes a node refuse connections and cuts those it has.
func (s *scripted) stop() {
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.cut()
}

func (s *scripted) setScript(script func(p *link, f wire.Frame) bool) {
	s.mu.Lock()
	s.script = script
	s.mu.Unlock()
}

func (s *scripted) dialed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials
}

func (p *link) serve() {
	defer func() {
		p.net.Close()
		p.node.mu.Lock()
		delete(p.node.links, p)
		p.node.mu.Unlock()
	}()
	var buf []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := p.net.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			f, n, err := p.next(buf)
			if err != nil {
				panic(fmt.Sprintf("the client broke the protocol: %v", err))
			}
			if n == 0 {
				break
			}
			if f.Type == wire.FrameHello {
				p.greet(f)
			} else {
				p.request(f)
			}
			buf = buf[n:]
		}
	}
}

func (p *link) next(buf []byte) (wire.Frame, int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, n, err := p.session.Next(buf)
	if n > 0 && f.Type != wire.FrameHello {
		if _, twice := p.sizes[f.ID]; twice {
			panic(fmt.Sprintf("request id %x is in use twice", f.ID))
		}
		p.sizes[f.ID] = f.Size
		p.most = max(p.most, len(p.sizes))
	}
	return f, n, err
}

func (p *link) greet(f wire.Frame) {
	h, err := wire.ParseHello(f.Body)
	if f.Type != wire.FrameHello || err != nil || h.Side != wire.ClientSide {
		panic(fmt.Sprintf("the client began with %v: %v", f.Type, err))
	}
	s := p.node
	s.mu.Lock()
	ack, refuse := s.ack, s.refuse
	s.mu.Unlock()
	if refuse != nil {
		p.send(wire.AppendErrorFrame(nil, 0, refuse))
		p.net.Close()
		return
	}
	maxFrame := ack.MaxFrame
	p.session.Accept(&ack)
	ack.MaxFrame = maxFrame
	p.send(wire.AppendFrame(nil, wire.FrameHelloAck, 0, wire.AppendHelloAck(nil, &ack)))
}

func (p *link) request(f wire.Frame) {
	s := p.node
	s.mu.Lock()
	script, leader, st := s.script, s.status.Role == wire.RoleLeader, s.status
	s.mu.Unlock()
	p.seen++
	if script != nil && script(p, f) {
		return
	}
	switch {
	case f.Type == wire.FrameStatus:
		p.send(wire.AppendFrame(nil, wire.FrameStatusReply, f.ID, wire.AppendStatus(nil, &st)))
	case f.Type == wire.FrameRead && f.Body[0] == byte(wire.Stale), leader:
		p.send(s.net.store.answer(f))
	default:
		hint := ""
		for _, m := range st.Members {
			if m.ID == st.Leader {
				hint = m.ClientAddr
			}
		}
		p.fail(f, &wire.Error{Code: wire.CodeNotLeader, Leader: hint})
	}
}

// send writes a frame; a client that is gone is no matter.
func (p *link) send(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, err := wire.ParseFrame(b, wire.MaxFrameBytes); err == nil && p.sizes[f.ID] > 0 {
		p.session.Replied(p.sizes[f.ID])
		delete(p.sizes, f.ID)
	}
	_ = p.net.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = p.net.Write(b)
}

func (p *link) fail(f wire.Frame, e *wire.Error) { p.send(wire.AppendErrorFrame(nil, f.ID, e)) }

// store is a key-value store that answers requests.
type store struct {
	mu      sync.Mutex
	items   map[string]Item
	rev     Revision
	writes  int // commands carried out
	pageMax int // items of a scan page
}

func newStore() *store { return &store{items: map[string]Item{}, pageMax: 3} }

func (st *store) answer(f wire.Frame) []byte {
	st.mu.Lock()
	defer st.mu.Unlock()
	if f.Type == wire.FrameWrite {
		_, cmd, err := wire.ParseWrite(f.Body)
		if err != nil {
			panic(err)
		}
		st.rev++
		st.writes++
		body := st.apply(wire.AppendReplyHeader(nil, st.rev), cmd, false)
		return wire.AppendFrame(nil, wire.FrameWriteReply, f.ID, body)
	}
	_, query, err := wire.ParseRead(f.Body)
	if err != nil {
		panic(err)
	}
	return wire.AppendFrame(nil, wire.FrameReadReply, f.ID, st.read(wire.AppendReplyHeader(nil, st.rev), query))
}

func (st *store) apply(dst, cmd []byte, inBatch bool) []byte {
	c, err := wire.ParseCommand(cmd)
	if err != nil {
		panic(err)
	}
	key := string(c.Key)
	it, exists := st.items[key]
	switch c.Op {
	case wire.OpDelete:
		delete(st.items, key)
		if !exists {
			return append(dst, byte(wire.StatusNotFound))
		}
		return append(dst, byte(wire.StatusOK))
	case wire.OpBatch:
		dst = append(dst, byte(wire.StatusOK))
		dst = append(dst, byte(c.Count), byte(c.Count>>8), 0, 0)
		rest := c.Batch
		for range c.Count {
			n := int(rest[0]) | int(rest[1])<<8
			dst = wire.AppendBatchItem(dst, st.apply(nil, rest[4:4+n], true))
			rest = rest[4+n:]
		}
		return dst
	case wire.OpCAS:
		ok := c.Mode == wire.CASAbsent && !exists ||
			c.Mode == wire.CASValue && exists && bytes.Equal(it.Value, c.Expected) ||
			c.Mode == wire.CASRevision && exists && it.ModRevision == c.Revision()
		if !ok {
			dst = append(dst, byte(wire.StatusConditionFailed))
			if inBatch || !exists {
				return append(dst, 0)
			}
			return appendTestItem(append(dst, 1), it)
		}
	}
	if !exists {
		it = Item{Key: key, CreateRevision: st.rev}
	}
	it.Value, it.ModRevision = bytes.Clone(c.Value), st.rev
	it.Version++
	st.items[key] = it
	return append(dst, byte(wire.StatusOK))
}

func appendTestItem(dst []byte, it Item) []byte {
	return wire.AppendItem(dst, wire.Item{
		CreateRevision: it.CreateRevision, ModRevision: it.ModRevision, Version: it.Version, Key: []byte(it.Key), Value: it.Value,
	})
}

func (st *store) read(dst, query []byte) []byte {
	q, err := wire.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	if q.Op == wire.QueryGet {
		it, ok := st.items[string(q.Key)]
		if !ok {
			return append(dst, byte(wire.StatusNotFound))
		}
		return appendTestItem(append(dst, byte(wire.StatusOK)), it)
	}
	var keys []string
	for k := range st.items {
		if k >= string(q.Start) && (len(q.End) == 0 || k < string(q.End)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	n := min(len(keys), int(q.Limit), st.pageMax)
	more := byte(0)
	if n < len(keys) {
		more = 1
	}
	dst = append(dst, byte(wire.StatusOK), more, byte(n), 0, 0, 0)
	if q.Flags&wire.ScanCountOnly != 0 {
		if more == 1 {
			dst = appendTestItem(dst, Item{Key: keys[n]})
		}
		return dst
	}
	for _, k := range keys[:n] {
		it := st.items[k]
		if q.Flags&wire.ScanKeysOnly != 0 {
			it.Value = nil
		}
		dst = appendTestItem(dst, it)
	}
	return dst
}

// open opens a client of the network's nodes, closed with the test.
func (nw *network) open(t testing.TB, endpoints ...string) *Client {
	return nw.openWith(t, Config{Endpoints: endpoints})
}

func (nw *network) openWith(t testing.TB, cfg Config) *Client {
	t.Helper()
	cfg.Dial = nw.dial
	c, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (nw *network) written() int {
	nw.store.mu.Lock()
	defer nw.store.mu.Unlock()
	return nw.store.writes
}

var _ io.Closer = (*Client)(nil)
