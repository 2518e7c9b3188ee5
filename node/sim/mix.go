package sim

import (
	"fmt"

	"github.com/dnode-engine/dnode/wire"
)

// draw makes up an operation.
func (l *load) draw(cl *simClient) Op {
	op := Op{Client: cl.index, place: l.place(), Call: l.c.now, floor: l.c.check.floor}
	op.Key = l.keys[op.place]
	if l.demand == anything && l.c.opt.Odd > 0 && l.rand.IntN(100) < l.c.opt.Odd {
		l.odd(&op)
		return op
	}
	if l.demand == onlyReads || l.demand == anything && l.mayRead(cl) {
		l.read(cl, &op)
		return op
	}
	op.Command = l.keep(l.command(cl, op.place))
	return op
}

// mayRead draws whether the next operation is a read.
func (l *load) mayRead(cl *simClient) bool {
	return cl.reader || l.c.now < l.hushed || l.rand.IntN(100) < l.c.opt.Reads
}

// place draws a key, one more often than the others.
func (l *load) place() int {
	if l.c.opt.Hot > 0 && l.rand.IntN(100) < l.c.opt.Hot {
		return 0
	}
	return l.rand.IntN(len(l.keys))
}

// read makes up a get or a scan, at any level.
func (l *load) read(cl *simClient, op *Op) {
	op.Read, op.Level = true, wire.Linearizable
	switch {
	case l.demand != anything:
	case l.c.opt.Stales > 0 && l.rand.IntN(100) < l.c.opt.Stales:
		op.Level = wire.Stale
	case cl.lease || l.rand.IntN(100) < l.c.opt.Leases:
		op.Level = wire.Lease
	}
	if l.demand != anything || l.c.opt.Scans == 0 || l.rand.IntN(100) >= l.c.opt.Scans {
		op.Query = l.keep(wire.AppendGet(l.body[:0], []byte(op.Key)))
		return
	}
	q := wire.Query{Flags: wire.ScanFlags(l.rand.IntN(4)), Limit: uint32(l.rand.IntN(4))}
	if l.rand.IntN(2) == 0 {
		q.Start = []byte(op.Key)
	}
	if l.rand.IntN(2) == 0 {
		q.End = []byte(l.keys[l.place()])
	}
	op.Scan = true
	op.Query = l.keep(wire.AppendScan(l.body[:0], q))
}

// command draws a write, mostly a put. No two of a history are the same.
func (l *load) command(cl *simClient, place int) []byte {
	key, unique := []byte(l.keys[place]), fmt.Appendf(nil, "%d-%d", cl.index, cl.last)
	kind := l.rand.IntN(7)
	if l.c.opt.Mixed && l.rand.IntN(3) == 0 {
		kind = 7 + l.rand.IntN(2)
	}
	switch kind {
	case 0:
		b := wire.AppendBatchHeader(nil, 2)
		b = wire.AppendBatchItem(b, wire.AppendDelete(nil, key))
		return wire.AppendBatchItem(b, wire.AppendDelete(nil, unique))
	case 1:
		return wire.AppendCAS(nil, wire.Command{Mode: wire.CASAbsent, Key: key, Value: unique})
	case 7:
		return l.compare(cl, place, unique)
	case 8:
		return l.batch(cl, unique)
	}
	size := l.rand.IntN(l.c.opt.ValueBytes)
	if l.c.opt.ValueBytes > 4096 && l.rand.IntN(8) > 0 {
		size %= 256
	}
	for len(unique) < size {
		unique = append(unique, "................................"...)
	}
	return wire.AppendPut(nil, key, unique)
}

// compare is a compare-and-set with what the client has last seen of the key.
func (l *load) compare(cl *simClient, place int, value []byte) []byte {
	seen := &cl.seen[place]
	c := wire.Command{Mode: wire.CASAbsent, Key: []byte(l.keys[place]), Value: value}
	switch {
	case seen.Value == nil:
	case l.rand.IntN(2) == 0:
		c.Mode, c.Expected = wire.CASValue, seen.Value
	default:
		c.Mode, c.Expected = wire.CASRevision, revision(seen.ModRevision)
	}
	return wire.AppendCAS(nil, c)
}

func revision(i wire.Index) []byte { return wire.AppendReplyHeader(nil, i) }

// batch is several commands on several keys, or on one.
func (l *load) batch(cl *simClient, unique []byte) []byte {
	n := 1 + l.rand.IntN(5)
	b := wire.AppendBatchHeader(nil, n+1)
	b = wire.AppendBatchItem(b, wire.AppendDelete(nil, unique)) // of a key that never was: see command
	for i := range n {
		place := l.place()
		value := fmt.Appendf(nil, "%s.%d", unique, i)
		switch l.rand.IntN(4) {
		case 0:
			b = wire.AppendBatchItem(b, wire.AppendDelete(nil, []byte(l.keys[place])))
		case 1:
			b = wire.AppendBatchItem(b, l.compare(cl, place, value))
		default:
			b = wire.AppendBatchItem(b, wire.AppendPut(nil, []byte(l.keys[place]), value))
		}
	}
	return b
}

// learn keeps what an answered get says.
func (l *load) learn(cl *simClient, op *Op) error {
	if !op.Read || op.Scan {
		return nil
	}
	if len(op.Result) == 0 || wire.Status(op.Result[0]) != wire.StatusOK {
		cl.seen[op.place] = wire.Item{}
		return nil
	}
	it, rest, err := wire.ParseItem(op.Result[1:])
	if err == nil && (string(it.Key) != op.Key || len(rest) > 0) {
		err = fmt.Errorf("a get of %q with %q and %d bytes more", op.Key, it.Key, len(rest))
	}
	cl.seen[op.place] = it
	return err
}
