package replica

import "github.com/dnode-engine/dnode/wire"

// ring is a first-in first-out queue that can also be cut at its end. It grows
// by doubling and keeps its memory.
//
// Invariant: len(buf) is zero or a power of two.
type ring[T any] struct {
	buf        []T
	head, tail uint64
}

func (q *ring[T]) len() int { return int(q.tail - q.head) }

func (q *ring[T]) push(v T) {
	if q.len() == len(q.buf) {
		grown := make([]T, max(64, 2*len(q.buf)))
		for i := q.head; i != q.tail; i++ {
			grown[i&uint64(len(grown)-1)] = q.buf[i&uint64(len(q.buf)-1)]
		}
		q.buf = grown
	}
	q.buf[q.tail&uint64(len(q.buf)-1)] = v
	q.tail++
}

// at returns the i-th element from the front, which must exist.
func (q *ring[T]) at(i int) *T { return &q.buf[(q.head+uint64(i))&uint64(len(q.buf)-1)] }

func (q *ring[T]) pop() T {
	v := *q.at(0)
	q.head++
	return v
}

func (q *ring[T]) popBack() T {
	v := *q.at(q.len() - 1)
	q.tail--
	return v
}

// write is a proposal whose outcome a client waits for.
type write struct {
	index wire.Index
	term  wire.Term
	conn  ConnID
	id    uint64
	bytes int32 // of the request
	kind  Kind
}

func (w *write) request() request {
	return request{conn: w.conn, id: w.id, size: int(w.bytes), kind: w.kind}
}

// read is a query that waits for a quorum round and for the state machine.
type read struct {
	round uint64     // zero: not yet part of a round
	index wire.Index // applied at least this
	conn  ConnID
	id    uint64
	at    uint64 // position of the query in the byte queue
	size  int32
	bytes int32 // of the request
	kind  Kind
}

func (w *read) request() request {
	return request{conn: w.conn, id: w.id, size: int(w.bytes), kind: w.kind}
}

// byteQueue holds the bytes of queued queries in arrival order. Positions count
// from the first byte ever pushed.
type byteQueue struct {
	buf  []byte
	base uint64 // position of buf[0]
	head uint64 // position of the first byte still needed
}

func (q *byteQueue) len() int { return int(q.base + uint64(len(q.buf)) - q.head) }

func (q *byteQueue) push(b []byte) uint64 {
	if dead := int(q.head - q.base); dead > 0 && dead >= len(q.buf)/2 {
		q.buf = q.buf[:copy(q.buf, q.buf[dead:])]
		q.base = q.head
	}
	at := q.base + uint64(len(q.buf))
	q.buf = append(q.buf, b...)
	return at
}

// get returns bytes that are valid until the next push.
func (q *byteQueue) get(at uint64, size int) []byte {
	lo := int(at - q.base)
	return q.buf[lo : lo+size : lo+size]
}

// popTo forgets everything before the given position.
func (q *byteQueue) popTo(at uint64) { q.head = at }
