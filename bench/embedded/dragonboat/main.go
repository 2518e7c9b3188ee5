// Command dragonboat runs three nodes of github.com/lni/dragonboat under a
// load, for package embedded.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lni/dragonboat/v3"
	"github.com/lni/dragonboat/v3/client"
	"github.com/lni/dragonboat/v3/config"
	"github.com/lni/dragonboat/v3/logger"
	"github.com/lni/dragonboat/v3/statemachine"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client/load"
)

const (
	clusterID = 1
	// The ticks are etcd's: the library has no defaults for them.
	tickMillis    = 100
	heartbeatTick = 1
	electionTicks = 10

	proposalLimit = 10 * time.Second
)

func main() { embedded.Main(start) }

type hosts []*dragonboat.NodeHost

func start(ctx context.Context, dirs []string) (*embedded.Engine, error) {
	for _, part := range []string{"dragonboat", "raft", "rsm", "transport", "logdb", "config", "settings", "pebblekv"} {
		logger.GetLogger(part).SetLevel(logger.ERROR)
	}
	addrs, err := embedded.FreeAddrs(len(dirs))
	if err != nil {
		return nil, err
	}
	members := map[uint64]dragonboat.Target{}
	for i, a := range addrs {
		members[uint64(i+1)] = a
	}
	var all hosts
	for i, dir := range dirs {
		h, err := dragonboat.NewNodeHost(config.NodeHostConfig{NodeHostDir: dir, RTTMillisecond: tickMillis, RaftAddress: addrs[i]})
		if err == nil {
			all = append(all, h)
			err = h.StartCluster(members, false, newMachine, config.Config{
				NodeID: uint64(i + 1), ClusterID: clusterID, CheckQuorum: true, ElectionRTT: electionTicks, HeartbeatRTT: heartbeatTick,
			})
		}
		if err != nil {
			all.stop()
			return nil, fmt.Errorf("cannot start a node: %w", err)
		}
	}
	if err := embedded.Await(ctx, "a leader", func() bool { return all.leader() >= 0 }); err != nil {
		all.stop()
		return nil, err
	}
	p := &proposer{host: all[all.leader()]}
	p.session = p.host.GetNoOPSession(clusterID)
	return &embedded.Engine{
		What: embedded.Version("github.com/lni/dragonboat/v3") + " with its default log (" + embedded.Version("github.com/cockroachdb/pebble") + ") and its TCP transport",
		Open: embedded.Proposer(p.propose), Leader: all.leader, Stop: all.stop,
	}, nil
}

// leader is whom every node follows.
func (all hosts) leader() int {
	leader := uint64(0)
	for _, h := range all {
		id, known, err := h.GetLeaderID(clusterID)
		if err != nil || !known || leader != 0 && id != leader {
			return -1
		}
		leader = id
	}
	return int(leader) - 1
}

func (all hosts) stop() {
	for _, h := range all {
		h.Stop()
	}
}

// proposer proposes without a session of dragonboat's: nothing is tried twice.
type proposer struct {
	host    *dragonboat.NodeHost
	session *client.Session
}

// propose returns when the entry is applied. The library copies the command.
func (p *proposer) propose(o *load.Operation) error {
	var room [512]byte
	state, err := p.host.Propose(p.session, embedded.AppendCommand(room[:0], o), proposalLimit)
	if err != nil {
		return err
	}
	defer state.Release()
	r := <-state.ResultC()
	switch {
	case !r.Completed():
		return errors.New("the proposal was not completed")
	case r.GetResult().Value != applied:
		return embedded.ErrRefused
	}
	return nil
}

// applied is the result of a command that was carried out.
const applied = 1

// machine is a store as the library calls it.
type machine struct{ store *embedded.Store }

func newMachine(uint64, uint64) statemachine.IStateMachine { return machine{embedded.NewStore()} }

// Update implements statemachine.IStateMachine.
func (m machine) Update(command []byte) (statemachine.Result, error) {
	if err := m.store.Apply(command); err != nil {
		return statemachine.Result{}, nil // the next command may be a good one
	}
	return statemachine.Result{Value: applied}, nil
}

var errNoSnapshots = errors.New("there are no snapshots")

// Lookup implements statemachine.IStateMachine.
func (m machine) Lookup(any) (any, error) { return nil, errors.New("there are no reads") }

// SaveSnapshot implements statemachine.IStateMachine.
func (m machine) SaveSnapshot(io.Writer, statemachine.ISnapshotFileCollection, <-chan struct{}) error {
	return errNoSnapshots
}

// RecoverFromSnapshot implements statemachine.IStateMachine.
func (m machine) RecoverFromSnapshot(io.Reader, []statemachine.SnapshotFile, <-chan struct{}) error {
	return errNoSnapshots
}

// Close implements statemachine.IStateMachine.
func (m machine) Close() error { return nil }
