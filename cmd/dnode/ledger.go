package main

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// ledger remembers what became of every write of some writers, so that at the
// end each acknowledged one can be looked for. Every writer has keys of its own
// and one write in flight.
//
// A key whose write has an unknown outcome is never written again: the write
// may still take effect, so the key may hold it or the one acknowledged before.
type ledger struct {
	prefix     string
	valueBytes int
	keys       int // per writer; it goes round when all are written
	writers    []*writer
	acked      atomic.Uint64
	unknown    atomic.Uint64
	refused    atomic.Uint64
	// done is told when every write began and how it ended; it may be called by
	// several writers at once. Nil tells nobody.
	done func(began time.Time, err error)
}

// writer is the part of a ledger that one goroutine writes.
type writer struct {
	ledger *ledger
	id     int
	slots  []slot // by key
	next   int    // key to write next
	writes uint32 // so far; the number of a write is in its value
}

// slot is one key: the numbers of the writes it may hold, zero for none.
type slot struct{ acked, unknown uint32 }

func newLedger(prefix string, writers, keys, valueBytes int) *ledger {
	l := &ledger{prefix: prefix, valueBytes: valueBytes, keys: keys}
	for i := range writers {
		l.writers = append(l.writers, &writer{ledger: l, id: i})
	}
	return l
}

// putFunc carries out one write.
type putFunc func(ctx context.Context, key string, value []byte) (client.Revision, error)

// run lets all writers write until ctx ends. Each calls pace before a write;
// pace returns false to end it.
func (l *ledger) run(ctx context.Context, put putFunc, pace func() bool) {
	var running sync.WaitGroup
	for _, w := range l.writers {
		running.Go(func() {
			for ctx.Err() == nil && pace() && w.write(ctx, put) {
			}
		})
	}
	running.Wait()
}

// write carries out one write. It reports false when there is no key left.
func (w *writer) write(ctx context.Context, put putFunc) bool {
	i, ok := w.pick()
	if !ok {
		return false
	}
	w.writes++
	began := time.Now()
	_, err := put(ctx, w.ledger.key(w.id, i), w.ledger.value(w.id, w.writes))
	switch {
	case err == nil:
		w.slots[i].acked = w.writes
		w.ledger.acked.Add(1)
	case client.OutcomeUnknown(err):
		w.slots[i].unknown = w.writes
		w.ledger.unknown.Add(1)
	default:
		w.ledger.refused.Add(1)
	}
	if w.ledger.done != nil {
		w.ledger.done(began, err)
	}
	return true
}

// pick returns the next key that may be written.
func (w *writer) pick() (int, bool) {
	if len(w.slots) < w.ledger.keys {
		w.slots = append(w.slots, slot{})
		return len(w.slots) - 1, true
	}
	for range w.slots {
		i := w.next
		w.next = (w.next + 1) % len(w.slots)
		if w.slots[i].unknown == 0 {
			return i, true
		}
	}
	return 0, false
}

func (l *ledger) key(writer, key int) string {
	return fmt.Sprintf("%s%d/%d", l.prefix, writer, key)
}

// value is the number of the write and of its writer, filled up to the size.
func (l *ledger) value(writer int, n uint32) []byte {
	v := fmt.Appendf(make([]byte, 0, l.valueBytes+20), "%d of %d", n, writer)
	for len(v) < l.valueBytes {
		v = append(v, '.')
	}
	return v
}

// audit is what check has found.
type audit struct {
	keys  int      // keys that hold what they must
	wrong []string // at most maxWrong descriptions of those that do not
	bad   int      // how many do not
}

const maxWrong = 5

func (a *audit) blame(format string, args ...any) {
	if a.bad++; a.bad <= maxWrong {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// check looks through everything that is there under the prefix: each key must
// hold exactly its last acknowledged write, or the one of unknown outcome after
// it, and there must be no other. It must not run beside run.
func (l *ledger) check(items iter.Seq2[client.Item, error]) (audit, error) {
	var a audit
	seen := make([]int, len(l.writers))
	for it, err := range items {
		if err != nil {
			return a, fmt.Errorf("cannot read the writes back: %w", err)
		}
		w, i, ok := l.find(it.Key)
		if !ok {
			a.blame("key %q was never written", it.Key)
			continue
		}
		s := w.slots[i]
		if s.acked != 0 {
			seen[w.id]++
		}
		if !w.holds(s, it.Value) {
			a.blame("key %q holds %.40q; write %d was acknowledged", it.Key, it.Value, s.acked)
			continue
		}
		a.keys++
	}
	for _, w := range l.writers {
		want := 0
		for _, s := range w.slots {
			if s.acked != 0 {
				want++
			}
		}
		if want != seen[w.id] {
			a.blame("%d of %d acknowledged keys of writer %d are gone", want-seen[w.id], want, w.id)
		}
	}
	return a, nil
}

// holds reports whether a key with this slot may have this value.
func (w *writer) holds(s slot, value []byte) bool {
	for _, n := range []uint32{s.acked, s.unknown} {
		if n != 0 && bytes.Equal(value, w.ledger.value(w.id, n)) {
			return true
		}
	}
	return false
}

// find returns whose key it is.
func (l *ledger) find(key string) (*writer, int, bool) {
	id, number, ok := strings.Cut(strings.TrimPrefix(key, l.prefix), "/")
	w, err1 := strconv.Atoi(id)
	i, err2 := strconv.Atoi(number)
	if !ok || err1 != nil || err2 != nil || w < 0 || w >= len(l.writers) || i < 0 || i >= len(l.writers[w].slots) {
		return nil, 0, false
	}
	return l.writers[w], i, true
}
