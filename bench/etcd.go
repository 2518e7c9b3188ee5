package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/client/load"
)

const (
	// operationLimit bounds one operation of dnode's client. Those of etcd's
	// client have no deadline, since a deadline costs it time: etcd itself gives
	// up after some seconds.
	operationLimit = 10 * time.Second
	// runLimit is when a run is given up that does not end.
	runLimit = 30 * time.Minute
)

// etcdConn starts operations on etcd's own client, each on a goroutine: that
// client has no other way. As in etcd's own tool the goroutine stays with its
// place in flight.
type etcdConn struct {
	embedded.Blocking
	c    *clientv3.Client
	ctx  context.Context // of all operations: ends with the run
	end  context.CancelFunc
	read []clientv3.OpOption
}

// openEtcd opens one connection. Writes and linearizable reads go to the
// leader, as dnode's client has it; stale reads are spread over all nodes.
func openEtcd(o *order, i int) (load.Conn, error) {
	endpoint := o.Endpoints[0]
	k := &etcdConn{}
	k.Do = k.do
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(runLimit, cancel) // no deadline: that would go along with each request
	k.ctx, k.end = ctx, func() { timer.Stop(); cancel() }
	if o.Level == stale {
		endpoint = o.Endpoints[i%len(o.Endpoints)]
		k.read = append(k.read, clientv3.WithSerializable())
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: operationLimit, Logger: zap.NewNop()})
	if err != nil {
		k.end()
		return nil, fmt.Errorf("cannot open etcd's client: %w", err)
	}
	k.c = c
	// The client connects when it is first used: do it now, as dnode's does.
	first, done := context.WithTimeout(ctx, operationLimit)
	defer done()
	if _, err := c.Get(first, "0", clientv3.WithSerializable()); err != nil {
		_ = k.Close()
		return nil, fmt.Errorf("cannot reach etcd: %w", err)
	}
	return k, nil
}

// Close implements load.Conn.
func (k *etcdConn) Close() error {
	k.end()
	return k.c.Close()
}

func (k *etcdConn) do(o *load.Operation) error {
	ctx := k.ctx
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
	case errors.Is(err, rpctypes.ErrTimeout) && o.Op == load.Put:
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
