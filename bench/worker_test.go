package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc"

	"github.com/dnode-engine/dnode/client/load"
	"github.com/dnode-engine/dnode/node"
)

// obey has a worker of its own process carry out an order.
func obey(t *testing.T, o order) *measured {
	t.Helper()
	g := &group{}
	defer g.stopAll()
	r := &runner{group: g, self: self(t)}
	begun := 0
	m, err := r.work(t.Context(), o, func() error { begun++; return nil })
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	if begun != 1 {
		t.Errorf("%+v: the end of the warm-up was said %d times", o, begun)
	}
	if m.Load.Errors > 0 || m.ClientCPU <= 0 || m.Histogram.Count() != uint64(m.Load.Ops) {
		t.Errorf("%+v: %s, CPU %v, %d in the histogram", o, brief(m.Load), m.ClientCPU, m.Histogram.Count())
	}
	return m
}

func orderFor(system string, endpoints ...string) order {
	return order{
		System: system, Endpoints: endpoints, Op: load.Put, Level: linearizable, Conns: 2, Clients: 20,
		KeySize: 8, ValueSize: 64, Keys: 1000, Total: 1000, Seed: 1, InOrder: true,
	}
}

// The worker drives a real node of dnode with every kind of operation.
func TestDnode(t *testing.T) {
	n, err := node.Start(t.Context(), node.Config{
		Name: "n1", DataDir: t.TempDir(), Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	o := orderFor(sysDnode, n.ClientAddr())
	obey(t, o) // every key
	o.InOrder = false
	for _, op := range []load.Op{load.Get, load.Scan, load.Mix} {
		o.Op = op
		if m := obey(t, o); m.Load.Ops != o.Total || (m.Puts != nil) != (op == load.Mix) {
			t.Errorf("%s: %s", op, brief(m.Load))
		}
	}
	o.Op, o.Total, o.Duration, o.WarmUp, o.Level = load.Get, 0, 300*time.Millisecond, 100*time.Millisecond, lease
	if m := obey(t, o); m.Load.Seconds < 0.2 || m.Load.Seconds > 2 {
		t.Error(brief(m.Load))
	}
}

// fakeEtcd is etcd as far as the worker sees it.
type fakeEtcd struct {
	pb.UnimplementedKVServer
	mu           sync.Mutex
	keys         map[string]bool
	linearizable int
	serializable int
}

func startFakeEtcd(t *testing.T) (*fakeEtcd, string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, s := &fakeEtcd{keys: map[string]bool{}}, grpc.NewServer()
	pb.RegisterKVServer(s, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { s.Stop(); wg.Wait() })
	return f, l.Addr().String()
}

// Put implements the service.
func (f *fakeEtcd) Put(_ context.Context, r *pb.PutRequest) (*pb.PutResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(r.Key) != 8 || len(r.Value) != 64 {
		return nil, fmt.Errorf("a key of %d bytes and a value of %d", len(r.Key), len(r.Value))
	}
	f.keys[string(r.Key)] = true
	return &pb.PutResponse{Header: &pb.ResponseHeader{}}, nil
}

// Range implements the service.
func (f *fakeEtcd) Range(_ context.Context, r *pb.RangeRequest) (*pb.RangeResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if string(r.Key) != "0" { // what a connection asks when it is opened
		if r.Serializable {
			f.serializable++
		} else {
			f.linearizable++
		}
	}
	res := &pb.RangeResponse{Header: &pb.ResponseHeader{}}
	if len(r.RangeEnd) > 0 {
		for range r.Limit {
			res.Kvs = append(res.Kvs, &mvccpb.KeyValue{})
		}
	} else if f.keys[string(r.Key)] {
		res.Kvs = append(res.Kvs, &mvccpb.KeyValue{Key: r.Key})
	}
	return res, nil
}

// The worker asks etcd for the same: levels, keys that exist, all nodes for
// stale reads and the leader for all else.
func TestEtcd(t *testing.T) {
	leader, first := startFakeEtcd(t)
	other, second := startFakeEtcd(t)
	o := orderFor(sysEtcd, first, second)
	obey(t, o)
	if len(leader.keys) != 1000 || len(other.keys) != 0 {
		t.Errorf("%d keys at the leader, %d elsewhere", len(leader.keys), len(other.keys))
	}
	o.Op = load.Get
	obey(t, o)
	o.Op = load.Scan
	obey(t, o)
	if leader.linearizable != 2000 || leader.serializable+other.serializable+other.linearizable != 0 {
		t.Errorf("leader %d linearizable, %d serializable", leader.linearizable, leader.serializable)
	}
	other.keys = leader.keys
	o.Op, o.Level = load.Get, stale
	obey(t, o)
	if leader.serializable < 400 || other.serializable < 400 || leader.serializable+other.serializable != 1000 {
		t.Errorf("%d stale reads here, %d there", leader.serializable, other.serializable)
	}
}

// A key that is not there is an error, not a quick success.
func TestEtcdMissingKey(t *testing.T) {
	_, addr := startFakeEtcd(t)
	g := &group{}
	defer g.stopAll()
	r := &runner{group: g, self: self(t)}
	o := orderFor(sysEtcd, addr)
	o.Op = load.Get
	if _, err := r.work(t.Context(), o, func() error { return nil }); err == nil || !strings.Contains(err.Error(), "1000 errors: [not found]") {
		t.Error(err)
	}
}

// An order ends when it is cancelled, and its process with it.
func TestWorkCancelled(t *testing.T) {
	_, addr := startFakeEtcd(t)
	g := &group{}
	ctx, cancel := context.WithCancel(t.Context())
	o := orderFor(sysEtcd, addr)
	o.Total, o.Duration = 0, time.Hour
	if _, err := (&runner{group: g, self: self(t)}).work(ctx, o, func() error { cancel(); return nil }); err == nil {
		t.Error("went on")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.running {
		if !gone(p.pid()) {
			t.Errorf("%s is still there", p.name)
		}
	}
}

func TestBadOrder(t *testing.T) {
	f := func(o order, want string) {
		t.Helper()
		w := &worker{order: o, out: json.NewEncoder(nil)}
		if err := w.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f(order{Level: "fancy"}, `unknown level "fancy"`)
	f(order{Level: stale}, "no endpoints")
}

// The floors can be measured here, and each is what it says.
func TestFloors(t *testing.T) {
	g := &group{}
	defer g.stopAll()
	r := &runner{group: g, self: self(t), data: t.TempDir(), opt: options{load: shape{keySize: 8, valueSize: 256}}}
	f, err := r.measureFloors(t.Context(), 1, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []latency{f.Sync, f.Sync3, f.TCP, f.Gnet} {
		if l.Count < 1 || l.P50Us <= 0 || l.P99Us < l.P50Us || l.MaxUs < l.P99Us {
			t.Errorf("%+v", l)
		}
	}
	if alone := 1e6 / f.Gnet.P50Us; f.Echo < 2*alone {
		t.Errorf("%.0f/s with %d in flight, %.0f/s one by one", f.Echo, echoInFlight, alone)
	}
	if f.EchoBytes != 36 || f.ReplyBytes <= 256+8 {
		t.Errorf("frames of %d and %d bytes", f.EchoBytes, f.ReplyBytes)
	}
}
