package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/client/load"
)

// operationLimit bounds one operation on both sides.
const operationLimit = 10 * time.Second

// etcdConn starts operations on etcd's own client, each on a goroutine: that
// client has no other way.
type etcdConn struct {
	c    *clientv3.Client
	read []clientv3.OpOption
}

// openEtcd opens one connection. Writes and linearizable reads go to the
// leader, as dnode's client has it; stale reads are spread over all nodes.
func openEtcd(o *order, i int) (load.Conn, error) {
	endpoint := o.Endpoints[0]
	k := &etcdConn{}
	if o.Level == stale {
		endpoint = o.Endpoints[i%len(o.Endpoints)]
		k.read = append(k.read, clientv3.WithSerializable())
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: operationLimit, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("cannot open etcd's client: %w", err)
	}
	k.c = c
	// The client connects when it is first used: do it now, as dnode's does.
	ctx, cancel := context.WithTimeout(context.Background(), operationLimit)
	defer cancel()
	if _, err := c.Get(ctx, "0", clientv3.WithSerializable()); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("cannot reach etcd: %w", err)
	}
	return k, nil
}

// Start implements load.Conn.
func (k *etcdConn) Start(o *load.Operation) error {
	go func() { o.Done(k.do(o)) }()
	return nil
}

// Close implements load.Conn.
func (k *etcdConn) Close() error { return k.c.Close() }

func (k *etcdConn) do(o *load.Operation) error {
	ctx, cancel := context.WithTimeout(context.Background(), operationLimit)
	defer cancel()
	var err error
	want := 1
	var got int
	switch o.Op {
	case load.Put:
		_, err = k.c.Put(ctx, o.Key, string(o.Value))
		got = want
	case load.Scan:
		want = o.Limit
		opts := append([]clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithLimit(int64(want))}, k.read...)
		got, err = k.get(ctx, o.Key, opts)
	default:
		got, err = k.get(ctx, o.Key, k.read)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && o.Op == load.Put:
		return &client.Error{Op: "put", Class: client.ClassUnknown, Err: err}
	case err != nil:
		return err
	case got < want:
		return client.ErrNotFound
	}
	return nil
}

// get returns how many keys were found.
func (k *etcdConn) get(ctx context.Context, key string, opts []clientv3.OpOption) (int, error) {
	res, err := k.c.Get(ctx, key, opts...)
	if err != nil {
		return 0, err
	}
	return len(res.Kvs), nil
}
