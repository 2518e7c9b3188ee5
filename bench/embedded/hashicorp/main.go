// Command hashicorp runs three nodes of github.com/hashicorp/raft under a load,
// for package embedded.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client/load"
)

// What Consul sets, as far as the library has no default.
const (
	cachedEntries = 512
	poolSize      = 3
	rpcTimeout    = 10 * time.Second
)

func main() { embedded.Main(start) }

type member struct {
	raft *raft.Raft
	log  *wal.WAL
	net  *raft.NetworkTransport
}

type members []*member

func start(ctx context.Context, dirs []string) (*embedded.Engine, error) {
	addrs, err := embedded.FreeAddrs(len(dirs))
	if err != nil {
		return nil, err
	}
	var founding raft.Configuration
	for _, a := range addrs {
		founding.Servers = append(founding.Servers, raft.Server{ID: raft.ServerID(a), Address: raft.ServerAddress(a)})
	}
	var all members
	for i, dir := range dirs {
		m, err := open(dir, addrs[i], founding)
		if err != nil {
			all.stop()
			return nil, fmt.Errorf("cannot start a node: %w", err)
		}
		all = append(all, m)
	}
	if err := embedded.Await(ctx, "a leader", func() bool { return all.leader() >= 0 }); err != nil {
		all.stop()
		return nil, err
	}
	return &embedded.Engine{
		What: embedded.Version("github.com/hashicorp/raft") + " with " + embedded.Version("github.com/hashicorp/raft-wal") +
			", its log cache and its TCP transport",
		Open: embedded.Proposer(all[all.leader()].propose), Leader: all.leader, Stop: all.stop,
	}, nil
}

// open starts a node; what a failure leaves open ends with the process.
func open(dir, addr string, founding raft.Configuration) (m *member, err error) {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	m = &member{}
	if m.log, err = wal.Open(dir, wal.WithLogger(logger)); err != nil {
		return nil, err
	}
	cache, err := raft.NewLogCache(cachedEntries, m.log)
	if err != nil {
		return nil, err
	}
	if m.net, err = raft.NewTCPTransportWithLogger(addr, nil, poolSize, rpcTimeout, logger); err != nil {
		return nil, err
	}
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = raft.ServerID(addr), logger
	snaps := raft.NewDiscardSnapshotStore()
	if err := raft.BootstrapCluster(cfg, cache, m.log, snaps, m.net, founding); err != nil {
		return nil, err
	}
	m.raft, err = raft.NewRaft(cfg, &machine{embedded.NewStore()}, cache, m.log, snaps, m.net)
	return m, err
}

// propose returns when the entry is applied. The log keeps the command, so
// that each has its own bytes.
func (m *member) propose(o *load.Operation) error {
	f := m.raft.Apply(embedded.AppendCommand(make([]byte, 0, embedded.CommandBytes(o)), o), 0)
	if err := f.Error(); err != nil {
		return err
	}
	err, _ := f.Response().(error)
	return err
}

func (all members) leader() int {
	return slices.IndexFunc(all, func(m *member) bool { return m.raft.State() == raft.Leader })
}

func (all members) stop() {
	for _, m := range all {
		_ = m.raft.Shutdown().Error()
		_ = m.net.Close()
		_ = m.log.Close()
	}
}

// machine is a store as the library calls it.
type machine struct{ store *embedded.Store }

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any {
	if err := m.store.Apply(l.Data); err != nil {
		return err
	}
	return nil
}

// Snapshot implements raft.FSM.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return nil, raft.ErrNothingNewToSnapshot }

// Restore implements raft.FSM.
func (m *machine) Restore(io.ReadCloser) error { return errors.New("there are no snapshots") }
