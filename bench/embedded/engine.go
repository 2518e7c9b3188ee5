package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/dnode-engine/dnode/client/load"
	"github.com/dnode-engine/dnode/node/kv"
	"github.com/dnode-engine/dnode/wire"
)

// Start starts one node per folder and returns when one of them leads.
type Start func(ctx context.Context, dirs []string) (*Engine, error)

// Engine is a cluster that runs in this process.
type Engine struct {
	What string // with versions
	// Open returns what entries are proposed with; nil: dnode's client.
	Open      func(ctx context.Context, i int) (load.Conn, error)
	Endpoints []string   // of dnode, the leader's first
	Leader    func() int // the node that leads, by its place in dirs; -1: none
	Stop      func()
}

// Proposer makes an Open of a function that returns when the operation's entry
// is committed and applied.
func Proposer(propose func(o *load.Operation) error) func(context.Context, int) (load.Conn, error) {
	return func(context.Context, int) (load.Conn, error) {
		return proposer{&Blocking{Do: propose}}, nil
	}
}

type proposer struct{ *Blocking }

// Close implements load.Conn. The engine is stopped elsewhere.
func (proposer) Close() error { return nil }

// AppendCommand appends an operation as a command of the key-value store.
func AppendCommand(dst []byte, o *load.Operation) []byte {
	return wire.AppendPut(dst, []byte(o.Key), o.Value)
}

// CommandBytes is the size of an operation's command.
func CommandBytes(o *load.Operation) int { return 1 + 2 + 4 + len(o.Key) + len(o.Value) }

// ErrRefused says that the state machine did not carry out a command.
var ErrRefused = errors.New("the state machine has refused a command")

// Store is the state machine of one node. It is used by one goroutine.
type Store struct {
	store *kv.Store
	index wire.Index
	reply []byte
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{store: kv.New()} }

// Apply carries out a command, which is not kept.
func (s *Store) Apply(command []byte) error {
	s.index++
	s.reply = s.store.Apply(s.index, command, s.reply[:0])
	if len(s.reply) == 0 || wire.Status(s.reply[0]) != wire.StatusOK {
		return ErrRefused
	}
	return nil
}

// Await waits until something is so.
func Await(ctx context.Context, what string, is func() bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("cannot wait for %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// FreeAddrs returns n loopback addresses that nobody listens on.
func FreeAddrs(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		defer l.Close() // all are held until the last is found
		addrs[i] = l.Addr().String()
	}
	return addrs, nil
}

// Version names a module with the version that is built in.
func Version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return module + " " + d.Version
			}
		}
	}
	return module
}
