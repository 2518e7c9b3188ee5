package embedded

import (
	"sync"

	"github.com/dnode-engine/dnode/client/load"
)

// Blocking starts operations of an API that knows only calls which wait, each
// on a goroutine. The goroutine stays with its place in flight, so that its
// stack grows once.
type Blocking struct {
	Do func(o *load.Operation) error

	mu    sync.Mutex
	lanes map[*load.Operation]*lane
}

// lane is the goroutine of one place in flight.
type lane struct {
	busy  bool // the goroutine runs
	again bool // and has another operation to do
}

// Start is that of load.Conn.
func (b *Blocking) Start(o *load.Operation) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[o]
	if l == nil {
		if b.lanes == nil {
			b.lanes = map[*load.Operation]*lane{}
		}
		l = &lane{}
		b.lanes[o] = l
	}
	if l.busy { // it is in Done, which has led here
		l.again = true
		return nil
	}
	l.busy = true
	go b.carryOut(o, l)
	return nil
}

// carryOut does one operation after the other, until there is none at hand.
func (b *Blocking) carryOut(o *load.Operation, l *lane) {
	for {
		o.Done(b.Do(o))
		b.mu.Lock()
		l.busy, l.again = l.again, false
		on := l.busy
		b.mu.Unlock()
		if !on {
			return
		}
	}
}
