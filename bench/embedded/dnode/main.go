// Command dnode runs three nodes of package node under a load, for package
// embedded.
package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/node"
	"github.com/dnode-engine/dnode/wire"
)

func main() { embedded.Main(start) }

type nodes []*node.Node

func start(ctx context.Context, dirs []string) (*embedded.Engine, error) {
	addrs, err := embedded.FreeAddrs(len(dirs))
	if err != nil {
		return nil, err
	}
	peers := map[string]string{}
	for i, addr := range addrs {
		peers[name(i)] = addr
	}
	var all nodes
	for i, dir := range dirs {
		n, err := node.Start(ctx, node.Config{
			Name: name(i), DataDir: dir, Listen: "127.0.0.1:0", PeerListen: addrs[i], Cluster: peers,
		})
		if err != nil {
			all.stop()
			return nil, fmt.Errorf("cannot start a node: %w", err)
		}
		all = append(all, n)
	}
	if err := embedded.Await(ctx, "a leader", func() bool { return all.leader() >= 0 }); err != nil {
		all.stop()
		return nil, errors.Join(err, all[0].Err())
	}
	var endpoints []string
	for i := range all {
		endpoints = append(endpoints, all[(all.leader()+i)%len(all)].ClientAddr())
	}
	return &embedded.Engine{
		What:      "package node of this tree, its log and transport; package client over one loopback connection",
		Endpoints: endpoints, Leader: all.leader, Stop: all.stop,
	}, nil
}

func name(i int) string { return fmt.Sprintf("n%d", i+1) }

func (all nodes) leader() int {
	return slices.IndexFunc(all, func(n *node.Node) bool { return n.Status().Role == wire.RoleLeader })
}

func (all nodes) stop() {
	for _, n := range all {
		n.Kill()
	}
}
