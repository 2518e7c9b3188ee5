package embedded

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dnode-engine/dnode/client/load"
	"github.com/dnode-engine/dnode/wire"
)

// engine is a cluster whose proposals all end alike.
func engine(err error, calls *atomic.Int64) Start {
	return func(_ context.Context, dirs []string) (*Engine, error) {
		return &Engine{
			What: "test", Leader: func() int { return int(calls.Load()) % len(dirs) }, Stop: func() { calls.Store(-1) },
			Open: Proposer(func(*load.Operation) error { calls.Add(1); return err }),
		}, nil
	}
}

// Every operation is carried out once, a change of leader is seen, and the
// engine is stopped.
func TestRun(t *testing.T) {
	var calls, made atomic.Int64
	start := engine(nil, &calls)
	o := Order{Dir: t.TempDir(), Clients: 16, KeySize: 8, ValueSize: 16, Keys: 10, Total: 3001}
	res, err := Run(t.Context(), func(ctx context.Context, dirs []string) (*Engine, error) {
		e, err := start(ctx, dirs)
		stop := e.Stop
		e.Stop = func() { made.Store(calls.Load()); stop() }
		return e, err
	}, o, func() {})
	if err != nil || res.Load.Ops != o.Total || made.Load() != o.Total || calls.Load() != -1 || res.Elections != 1 || res.What != "test" {
		t.Errorf("%+v, %v: %d calls", res, err, made.Load())
	}
}

func TestRunFails(t *testing.T) {
	var calls atomic.Int64
	o := Order{Dir: t.TempDir(), Clients: 2, KeySize: 8, ValueSize: 16, Keys: 10, Total: 5}
	_, err := Run(t.Context(), engine(errors.New("no"), &calls), o, func() {})
	if err == nil || !strings.Contains(err.Error(), "not one entry was committed: 5 errors") || calls.Load() != -1 {
		t.Error(err)
	}
}

// A store takes commands of the key-value store and says which it refuses.
func TestStore(t *testing.T) {
	o := &load.Operation{Key: "key", Value: []byte("value")}
	command := AppendCommand(nil, o)
	if len(command) != CommandBytes(o) {
		t.Errorf("%d bytes, said %d", len(command), CommandBytes(o))
	}
	s := NewStore()
	if err := s.Apply(command); err != nil {
		t.Error(err)
	}
	if err := s.Apply(command[:3]); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if s.store.Keys() != 1 || s.index != wire.Index(2) {
		t.Errorf("%d keys at %d", s.store.Keys(), s.index)
	}
}
