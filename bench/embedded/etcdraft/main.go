// Command etcdraft runs three nodes of go.etcd.io/raft under a load, for
// package embedded.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/client/pkg/v3/types"

	"github.com/dnode-engine/dnode/bench/embedded"
)

func main() { embedded.Main(start) }

type members []*member

func start(ctx context.Context, dirs []string) (*embedded.Engine, error) {
	addrs, err := embedded.FreeAddrs(len(dirs))
	if err != nil {
		return nil, err
	}
	urls := make([]types.URLs, len(addrs))
	for i, a := range addrs {
		if urls[i], err = types.NewURLs([]string{"http://" + a}); err != nil {
			return nil, fmt.Errorf("cannot name a node: %w", err)
		}
	}
	var all members
	for i, dir := range dirs {
		m, err := open(ctx, dir, i, urls)
		if err != nil {
			all.stop()
			return nil, fmt.Errorf("cannot start a node: %w", err)
		}
		all = append(all, m)
	}
	if err := embedded.Await(ctx, "a leader", func() bool { return all.leader() >= 0 }); err != nil {
		all.stop()
		return nil, errors.Join(err, errors.New("nobody was elected"))
	}
	return &embedded.Engine{
		What: embedded.Version("go.etcd.io/raft/v3") + " with log and transport of " + embedded.Version("go.etcd.io/etcd/server/v3") +
			" (storage/wal, rafthttp)",
		Open: embedded.Proposer(all[all.leader()].propose), Leader: all.leader, Stop: all.stop,
	}, nil
}

func (all members) leader() int {
	return slices.IndexFunc(all, func(m *member) bool { return m.leads.Load() })
}

func (all members) stop() {
	for _, m := range all {
		m.stop()
	}
}
