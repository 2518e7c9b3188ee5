package node

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dnode-engine/dnode/wire"
)

const (
	acceptRetryMin = 5 * time.Millisecond
	acceptRetryMax = 100 * time.Millisecond

	// While light connections ask, others come at this pace, see turns.go.
	acceptNanos = int64(time.Millisecond)
	acceptBurst = 500

	// ownFiles are kept for log, ports, pollers and standard streams: about
	// twenty, and a few more while a snapshot or an old segment is read.
	ownFiles = 64
	// minFiles is the least limit on open files that a node can work with.
	minFiles = 128
)

// port is one listener and the goroutine that accepts from it. A connection is
// counted, handed to the loop, and waited for until the loop has taken it: what
// is accepted and not taken yet is one connection, everything else waits with
// the kernel.
//
// Nothing but closing the listener ends it. When accepting fails, as it does
// when the process has no descriptors left, it waits a moment and goes on.
type port struct {
	n      *Node
	ln     *net.TCPListener
	side   wire.Side
	taken  atomic.Int64  // ClientSide: connections handed over and not closed
	shut   atomic.Uint64 // closed without a word
	failed atomic.Uint64 // times that accepting failed
	warned time.Time     // when that was last said
	paced  int64         // when the next may come while light connections ask
	done   chan struct{} // closed when run has ended
}

func (p *port) close() { _ = p.ln.Close() }

// wait returns when run has ended after close, or never will: it hands a
// connection to a loop that has ended by itself.
func (p *port) wait() {
	select {
	case <-p.done:
	case <-p.n.loopDone:
	}
}

// run accepts until the listener is closed.
func (p *port) run() {
	defer close(p.done)
	for wait := acceptRetryMin; ; {
		c, err := p.ln.AcceptTCP()
		if err == nil {
			err = p.admit(c)
		}
		switch {
		case err == nil:
			wait = acceptRetryMin
			p.pace()
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		p.fail(err)
		sleep(p.n.linkCtx, wait)
		wait = min(2*wait, acceptRetryMax)
	}
}

// pace waits if connections come too fast while light ones ask: making one costs
// as much as some twenty requests.
func (p *port) pace() {
	now := monotonic()
	p.paced = max(p.paced, now-acceptBurst*acceptNanos) + acceptNanos
	if p.paced > now && now < p.n.loop.lightUntil.Load() {
		sleep(p.n.linkCtx, time.Duration(p.paced-now))
	}
}

// admit hands an accepted connection to the loop, if there is a place for it, be
// it only one to be told that there is none. It returns when OnOpen has run, or
// never if the loop has ended.
func (p *port) admit(c *net.TCPConn) error {
	if p.side == wire.ClientSide && p.taken.Add(1) > int64(p.n.places.clients+p.n.places.refused) {
		p.taken.Add(-1)
		p.shut.Add(1)
		_ = c.Close()
		return nil
	}
	in := &conn{port: p, side: p.side}
	forgetZone(c)
	_, err := p.n.gnet.EnrollContext(c, in) // closes c, having made a duplicate
	if err == nil && in.gc == nil {
		err = errors.New("the poller refused it")
	}
	if err != nil {
		p.left()
	}
	return err
}

// left gives a place back.
func (p *port) left() {
	if p.side == wire.ClientSide {
		p.taken.Add(-1)
	}
}

// fail counts a failure and says so at most once a second.
func (p *port) fail(err error) {
	total := p.failed.Add(1)
	if now := time.Now(); now.Sub(p.warned) >= time.Second {
		p.warned = now
		advice := "new connections wait until that is over"
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			advice = "new connections wait until files are closed: raise the limit on open files (ulimit -n)"
		}
		p.n.log.Warn("cannot accept connections: "+advice, "event", "accept.failed", "on", p.ln.Addr().String(), "failures", total, "err", err)
	}
}

// places says how many connections of each kind there may be at once.
type places struct {
	clients int
	refused int // clients beyond that, while they are told so
	members int // on the members' port, greeted or not
	http    int
}

// placesFor divides a limit on open files. What is not for clients is kept even
// if they ask for all there is: the log must never lack a descriptor. It is the
// limit of the whole process: who embeds a node, or several, and needs many
// descriptors of its own sets Limits.Connections lower.
func placesFor(files uint64, clients int) (places, error) {
	if files < minFiles {
		return places{}, fmt.Errorf("the limit on open files is %d, too few for log, members and clients: a node needs at least %d, and %d for %d connections; raise it with ulimit -n",
			files, minFiles, clients+fullReserve, clients)
	}
	share := int(min(files, 1<<20) / 8)
	links := min(wire.MaxMembers, share/2)
	p := places{refused: min(maxRefused, share), members: min(maxMemberConns, share), http: min(maxHTTPConns, share/2)}
	p.clients = min(clients, 8*share-ownFiles-links-p.refused-p.members-p.http)
	return p, nil
}

// fullReserve is how many files are kept from clients when there are enough.
const fullReserve = ownFiles + wire.MaxMembers + maxRefused + maxMemberConns + maxHTTPConns
