package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/dnode-engine/dnode/wire"
)

const (
	dialTimeout     = time.Second
	greetTimeout    = 2 * time.Second
	linkRetryMin    = 20 * time.Millisecond
	linkRetryMax    = time.Second
	maxAddresses    = 3               // of one member: see address
	linkSilenceTime = 5 * time.Second // unacknowledged bytes or silence for so long: the link is dead
)

// link is the outgoing connection to one member: everything said to it goes
// through here, everything it says comes by a connection of its own. A
// goroutine dials, says hello and waits for the end; in between the connection
// belongs to the loop.
type link struct {
	n    *Node
	name string
	stop context.CancelFunc
	lost chan struct{} // loop to goroutine: the connection is gone; capacity 1
	// told is the address that the member gave when it last called, nil if it did
	// not. The loop sets it.
	told atomic.Pointer[string]

	// Owned by the loop.
	id   wire.NodeID // zero while founding
	conn gnet.Conn   // nil: down
	ack  wire.HelloAck
	sent uint64 // bytes
	ups  uint64 // times that it came up
}

// linkConn is the context of an outgoing connection inside gnet.
type linkConn struct {
	link   *link
	ack    wire.HelloAck
	opened atomic.Bool // OnOpen ran: gnet reports success even if it never does
}

// run dials for as long as the node wants this link.
func (k *link) run(ctx context.Context) {
	wait, said := linkRetryMin, lastSaid{}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		start := time.Now()
		err := k.once(ctx, attempt)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > 2*linkRetryMax {
			wait = linkRetryMin
		}
		if err != nil && said.news(err.Error()) {
			k.n.log.Warn("no link to member", "event", "link.failed", "peer", k.name, "err", err)
		}
		if err == nil {
			said = lastSaid{}
		}
		if k.fatal(err) {
			return
		}
		sleep(ctx, wait/2+rand.N(wait))
		wait = min(2*wait, linkRetryMax)
	}
}

// lastSaid is what was said of a member's addresses, one each, since it could be
// reached.
type lastSaid struct {
	texts [maxAddresses]string
	next  int
}

// news reports whether a text is not among the last ones, and keeps it.
func (s *lastSaid) news(text string) bool {
	if slices.Contains(s.texts[:], text) {
		return false
	}
	s.texts[s.next] = text
	s.next = (s.next + 1) % len(s.texts)
	return true
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// fatal stops the node if the refusal says that its data folder has no place in
// the cluster that it was told to join.
func (k *link) fatal(err error) bool {
	var refused *wire.Error
	if !errors.As(err, &refused) || refused.Code != wire.CodeNotFresh {
		return false
	}
	if k.n.self.Load().members != nil {
		return false
	}
	k.n.fail(fmt.Errorf("cannot join the cluster of %s: %w", k.name, refused))
	return true
}

// once brings the link up and waits until it is lost. It returns nil if it was
// up.
func (k *link) once(ctx context.Context, attempt int) error {
	addr := k.address(attempt)
	d := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: linkSilenceTime, Interval: time.Second, Count: 3,
	}}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("cannot connect to member %s: %w", k.name, err)
	}
	tcp := c.(*net.TCPConn)
	if err := setUserTimeout(tcp, linkSilenceTime); err != nil {
		k.n.log.Debug("no user timeout on link", "peer", k.name, "err", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = tcp.SetDeadline(time.Unix(1, 0)) })
	ack, err := k.greet(tcp)
	if !stop() || err != nil {
		_ = tcp.Close()
		return err
	}
	return k.enroll(ctx, tcp, ack)
}

// address picks where to dial, in turn: what the configuration says, and for
// members that have moved what the command line and the member itself say. The
// hello makes sure that it is the right one.
func (k *link) address(attempt int) string {
	s := k.n.self.Load()
	var at [maxAddresses]string
	n := 0
	add := func(addr string) {
		if addr != "" && !slices.Contains(at[:n], addr) {
			at[n] = addr
			n++
		}
	}
	add(k.configured(s))
	add(s.list[k.name])
	if told := k.told.Load(); told != nil {
		add(*told)
	}
	return at[attempt%max(1, n)]
}

// configured returns the member's address in the configuration, if there is one.
func (k *link) configured(s *self) string {
	if s.members != nil {
		if m := s.members.FindName(k.name); m != nil {
			return m.PeerAddr
		}
	}
	return ""
}

// hint notes where a member that has called says that it can be called. That is
// no configuration: it is one more address to try, as long as this node runs.
func (l *loop) hint(name, addr string) {
	for _, k := range l.links {
		if k.name != name || addr == "" {
			continue
		}
		before := k.told.Swap(&addr)
		if have := k.configured(l.self); have != "" && have != addr && (before == nil || *before != addr) {
			l.log.Warn("a member calls from another address than the cluster has for it: it is tried there, too; give every node the new address in its list", "event", "link.moved", "peer", name, "cluster_has", have, "told", addr)
		}
	}
}

// greet says hello and reads exactly the answer. An error frame is returned as
// *wire.Error.
func (k *link) greet(c *net.TCPConn) (wire.HelloAck, error) {
	var ack wire.HelloAck
	if err := c.SetDeadline(time.Now().Add(greetTimeout)); err != nil {
		return ack, fmt.Errorf("cannot greet member %s: %w", k.name, err)
	}
	s := k.n.self.Load()
	h := s.hello(k.name)
	if _, err := c.Write(wire.AppendFrame(nil, wire.FrameHello, 0, wire.AppendHello(nil, &h))); err != nil {
		return ack, fmt.Errorf("cannot greet member %s: %w", k.name, err)
	}
	f, err := readFrame(c)
	if err != nil {
		return ack, fmt.Errorf("cannot read the greeting of member %s: %w", k.name, err)
	}
	switch f.Type {
	case wire.FrameError:
		refused, err := wire.ParseError(f.Body)
		if err != nil {
			return ack, fmt.Errorf("cannot read the refusal of member %s: %w", k.name, err)
		}
		return ack, fmt.Errorf("member %s refused: %w", k.name, refused)
	case wire.FrameHelloAck:
		if ack, err = wire.ParseHelloAck(f.Body); err != nil {
			return ack, fmt.Errorf("cannot read the greeting of member %s: %w", k.name, err)
		}
	default:
		return ack, fmt.Errorf("member %s answered the hello with frame type %d", k.name, f.Type)
	}
	if err := s.checkAck(k.name, &ack); err != nil {
		return ack, err
	}
	return ack, c.SetDeadline(time.Time{})
}

// readFrame reads one frame and not a byte more.
func readFrame(r io.Reader) (wire.Frame, error) {
	buf := make([]byte, wire.FrameHeaderBytes, wire.MaxHelloBytes)
	if _, err := io.ReadFull(r, buf); err != nil {
		return wire.Frame{}, err
	}
	h, err := wire.ParseHeader(buf, wire.MaxHelloBytes)
	if err != nil {
		return wire.Frame{}, err
	}
	buf = buf[:h.Size]
	if _, err := io.ReadFull(r, buf[wire.FrameHeaderBytes:]); err != nil {
		return wire.Frame{}, err
	}
	return wire.ParseFrame(buf, wire.MaxHelloBytes)
}

// enroll hands the connection to the loop and waits for its end.
func (k *link) enroll(ctx context.Context, c *net.TCPConn, ack wire.HelloAck) error {
	select { // a loss that nobody waited for
	case <-k.lost:
	default:
	}
	lc := &linkConn{link: k, ack: ack}
	forgetZone(c)
	result, err := k.n.loop.el.Enroll(gnet.NewContext(context.Background(), lc), c)
	if err != nil {
		_ = c.Close()
		return fmt.Errorf("cannot enroll link to member %s: %w", k.name, err)
	}
	select {
	case r := <-result:
		if r.Err != nil {
			return fmt.Errorf("cannot enroll link to member %s: %w", k.name, r.Err)
		}
	case <-k.n.loopDone:
		return errLoopDone
	}
	if !lc.opened.Load() {
		return fmt.Errorf("cannot enroll link to member %s: the poller refused it", k.name)
	}
	select {
	case <-k.lost:
	case <-ctx.Done():
		k.n.loop.call(func(l *loop) { l.dropLink(k) })
		select {
		case <-k.lost:
		case <-k.n.loopDone:
		}
	case <-k.n.loopDone:
	}
	return nil
}

var errLoopDone = errors.New("the node's loop has ended")

// linkUp is OnOpen's part for an outgoing connection.
func (l *loop) linkUp(gc gnet.Conn, lc *linkConn) gnet.Action {
	k := lc.link
	lc.opened.Store(true)
	if err := l.self.checkAck(k.name, &lc.ack); err != nil || k.conn != nil || l.draining {
		return gnet.Close
	}
	l.forgetLinks() // the one before, if no turn has come since
	k.conn, k.ack = gc, lc.ack
	k.ups++
	l.log.Info("link up", "event", "link.up", "peer", k.name, "addr", gc.RemoteAddr().String())
	if l.rep == nil {
		l.heard(k.name, lc.ack)
	} else {
		l.tellUp(k)
	}
	l.post()
	return gnet.None
}

// tellUp lets the replica know of a link, once the member has an id.
func (l *loop) tellUp(k *link) {
	m := l.self.members.FindName(k.name)
	if m == nil || k.conn == nil {
		return
	}
	k.id = m.ID
	l.event()
	l.rep.PeerUp(k.id, k.ack.ClientAddr)
}

// linkDown is OnClose's part for an outgoing connection. It may run inside our
// own Write, so it only takes notes.
func (l *loop) linkDown(gc gnet.Conn, lc *linkConn, err error) {
	k := lc.link
	if k.conn != gc {
		if k.conn == nil { // refused in linkUp
			k.signalLost()
		}
		return
	}
	k.conn = nil
	l.log.Info("link down", "event", "link.down", "peer", k.name, "err", err)
	l.lostLinks = append(l.lostLinks, k)
	k.signalLost()
	l.post()
}

func (k *link) signalLost() {
	select {
	case k.lost <- struct{}{}:
	default:
	}
}

// forgetLinks tells the replica about links that were lost.
func (l *loop) forgetLinks() {
	for _, k := range l.lostLinks {
		if l.founder != nil {
			delete(l.founder.heard, k.name)
		}
		if l.rep != nil && k.id != 0 {
			l.event()
			l.rep.PeerDown(k.id)
		}
	}
	clear(l.lostLinks)
	l.lostLinks = l.lostLinks[:0]
}

func (l *loop) dropLink(k *link) {
	if k.conn != nil {
		_ = l.el.Close(k.conn)
		return
	}
	k.signalLost()
}

// say writes frames to a member's link, or drops them if it is down. A link
// that takes nothing is cut: what it held is sent again over the next.
func (l *loop) say(to wire.NodeID, b []byte) {
	for _, k := range l.links {
		if k.id != to {
			continue
		}
		if k.conn == nil {
			l.counters.peerDropped += uint64(len(b))
			return
		}
		gc := k.conn
		if _, err := gc.Write(b); err != nil || k.conn == nil {
			return
		}
		k.sent += uint64(len(b))
		if gc.OutboundBuffered() > l.cfg.Limits.PeerQueueBytes {
			l.counters.linksCut++
			l.log.Warn("link cut", "event", "link.overflow", "peer", k.name, "queued_bytes", gc.OutboundBuffered())
			_ = l.el.Close(gc)
		}
		return
	}
}

// hearLink reads what comes back over an outgoing connection: nothing but the
// reason why it is closed.
func (l *loop) hearLink(gc gnet.Conn, k *link) gnet.Action {
	buf, err := gc.Peek(-1)
	if err != nil || len(buf) == 0 {
		return gnet.None
	}
	f, err := wire.ParseFrame(buf, wire.MaxHelloBytes)
	if errors.Is(err, wire.ErrShortFrame) && len(buf) < wire.MaxHelloBytes {
		return gnet.None
	}
	if err == nil && f.Type == wire.FrameError {
		if e, perr := wire.ParseError(f.Body); perr == nil {
			err = e
		}
	}
	l.log.Warn("link closed by member", "event", "link.refused", "peer", k.name, "err", err)
	l.discardAll(gc)
	return gnet.Close
}

// dialMembers starts links to members that have none and stops those of nodes
// that are members no longer.
func (l *loop) dialMembers() {
	wanted := make(map[string]bool)
	if l.self.members != nil {
		for i := range l.self.members.Members {
			wanted[l.self.members.Members[i].Name] = true
		}
	} else {
		for name := range l.self.list {
			wanted[name] = true
		}
	}
	delete(wanted, l.self.name)
	kept := l.links[:0]
	for _, k := range l.links {
		if wanted[k.name] {
			delete(wanted, k.name)
			kept = append(kept, k)
			continue
		}
		k.stop()
	}
	l.links = kept
	for name := range wanted {
		l.links = append(l.links, l.n.startLink(name))
	}
	if l.rep == nil {
		return
	}
	for _, k := range l.links {
		switch {
		case k.conn == nil:
		case l.self.checkAck(k.name, &k.ack) != nil:
			l.dropLink(k) // dialled again, and refused in words
		case k.id == 0:
			l.tellUp(k)
		}
	}
}

// startLink starts the goroutine of one link.
func (n *Node) startLink(name string) *link {
	ctx, stop := context.WithCancel(n.linkCtx)
	k := &link{n: n, name: name, stop: stop, lost: make(chan struct{}, 1)}
	n.linkWG.Go(func() {
		defer stop()
		k.run(ctx)
	})
	return k
}
