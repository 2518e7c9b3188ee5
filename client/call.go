package client

import (
	"context"
	"time"

	"github.com/dnode-engine/dnode/wire"
)

// phase says where a call is, and thus which list or slot holds it.
type phase uint8

const (
	phaseIdle    phase = iota // not started, or in the pool
	phaseParked               // in Client.parked: waits until the leader is known
	phaseQueued               // in node.queue: waits for the connection or for credits
	phaseSent                 // in a slot of node.conn: waits for the answer
	phaseBackoff              // held by its timer
	phaseDone                 // result and error are final
)

// target says which node may answer a call.
type target uint8

const (
	toLeader target = iota
	toAny
	toEndpoint
)

// call is one request from start to end, over all its attempts. A call is
// pooled: its buffers and channel stay with it.
//
// Invariant: from start until phaseDone a call is in Client.active, and is in
// exactly the place that its phase names. All fields below "state" are guarded
// by Client.mu until phaseDone, and belong to whoever is told of the end then.
type call struct {
	op       string         // "put", "get", ... for errors
	frame    wire.FrameType // of the request
	target   target
	endpoint string // toEndpoint
	once     bool   // a probe: no second attempt
	body     []byte // of the request; owned by the call
	keyBytes int    // a get: the body ends with that long a key
	deadline int64  // Client.now at which it ends
	ctx      context.Context

	// Exactly one of these is told of the end. ready is for a waiting caller,
	// the others run on the goroutine that learns of the end.
	sync     bool
	ready    chan struct{}
	onWrite  func(Revision, error)
	onItem   func(Item, error)
	onStatus func(body []byte, err error)

	// state
	phase    phase
	active   links // in Client.active
	at       links // in Client.parked, node.queue or Client.finished
	node     *node // asked last
	slot     uint32
	attempts int
	hops     int
	maybe    bool
	cause    error // of the last attempt that failed
	code     wire.Code
	timer    *time.Timer

	reply []byte // aliases kept (sync) or the reader's buffer (until the completion returns)
	kept  []byte // owned by the call
	err   error
}

func (c *call) write() bool { return c.frame == wire.FrameWrite }

// reset makes a call ready for its next use and drops what would keep memory
// alive.
func (c *call) reset() {
	*c = call{body: keepSmall(c.body), kept: keepSmall(c.kept), ready: c.ready}
}

// maxKeptBytes bounds the buffers that pooled calls and idle connections keep.
const maxKeptBytes = 64 << 10

func keepSmall(b []byte) []byte {
	if cap(b) > maxKeptBytes {
		return nil
	}
	return b[:0]
}

// links chain a call into one callList.
type links struct{ next, prev *call }

// callList is a doubly linked list through the calls themselves, so that
// adding and removing cost no memory. which selects the links to use.
type callList struct {
	first, last *call
	len         int
	which       func(*call) *links
}

func activeLinks(c *call) *links { return &c.active }
func placeLinks(c *call) *links  { return &c.at }

func (l *callList) push(c *call) {
	k := l.which(c)
	*k = links{prev: l.last}
	if l.last == nil {
		l.first = c
	} else {
		l.which(l.last).next = c
	}
	l.last = c
	l.len++
}

func (l *callList) remove(c *call) {
	k := l.which(c)
	if k.prev == nil {
		l.first = k.next
	} else {
		l.which(k.prev).next = k.next
	}
	if k.next == nil {
		l.last = k.prev
	} else {
		l.which(k.next).prev = k.prev
	}
	*k = links{}
	l.len--
}

// take empties the list and returns what was in it, still chained.
func (l *callList) take() *call {
	c := l.first
	l.first, l.last, l.len = nil, nil, 0
	return c
}
