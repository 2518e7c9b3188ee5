package main

import (
	"encoding/binary"
	"fmt"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client/load"
)

// numberBytes precede the command of an entry: the proposal's number.
const numberBytes = 8

// waiting is who waits for which proposal of this node.
type waiting struct {
	mu    sync.Mutex
	last  uint64
	calls map[uint64]chan error
	free  []chan error
}

// begin gives a proposal its number and the channel of its result.
func (w *waiting) begin() (uint64, chan error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == nil {
		w.calls = map[uint64]chan error{}
	}
	w.last++
	var c chan error
	if n := len(w.free); n > 0 {
		c, w.free = w.free[n-1], w.free[:n-1]
	} else {
		c = make(chan error, 1)
	}
	w.calls[w.last] = c
	return w.last, c
}

// end gives the channel of a proposal back that nobody will answer.
func (w *waiting) end(number uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.calls, number)
}

// answered gives a channel back that was read.
func (w *waiting) answered(c chan error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = append(w.free, c)
}

// answer ends a proposal, if it is one of this node.
func (w *waiting) answer(number uint64, err error) {
	w.mu.Lock()
	c := w.calls[number]
	delete(w.calls, number)
	w.mu.Unlock()
	if c != nil {
		c <- err
	}
}

// propose returns when the entry is applied. The library keeps the bytes.
func (m *member) propose(o *load.Operation) error {
	number, result := m.waiting.begin()
	entry := make([]byte, numberBytes, numberBytes+embedded.CommandBytes(o))
	binary.LittleEndian.PutUint64(entry, number)
	if err := m.node.Propose(m.ctx, embedded.AppendCommand(entry, o)); err != nil {
		m.waiting.end(number)
		return fmt.Errorf("cannot propose: %w", err)
	}
	select {
	case err := <-result:
		m.waiting.answered(result)
		return err
	case <-m.ctx.Done():
		m.waiting.end(number)
		return m.ctx.Err()
	}
}

// apply carries out what is committed. Only the leader's proposals wait here:
// another node's number of the same value is nobody's.
func (m *member) apply() {
	state := embedded.NewStore()
	for entries := range m.committed {
		for i := range entries {
			e := &entries[i]
			if e.Type != raftpb.EntryNormal || len(e.Data) < numberBytes {
				continue
			}
			err := state.Apply(e.Data[numberBytes:])
			m.waiting.answer(binary.LittleEndian.Uint64(e.Data), err)
		}
	}
}
