//go:build linux && root

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// A small file system with all three nodes on it fills up under load: writes are
// refused with a reason, deletes and reads are served, nobody has to do anything
// but make room, and nothing acknowledged is lost, a restart included.
func TestFullDisk(t *testing.T) {
	disk := mountSmall(t, 1<<30)
	c := clusterOn(t, disk, disk, disk)
	cl := c.open()
	defer cl.Close()
	l := startStress("full/", cl)
	defer l.end()
	l.reach(t, 1000)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if _, err := cl.Put(ctx, "victim", []byte("x")); err != nil {
		t.Fatal(err)
	}
	free := disk.fill(8 << 20)
	untilFull(ctx, t, cl)
	l.end()
	if _, existed, err := cl.Delete(ctx, "victim"); err != nil || !existed {
		t.Fatalf("delete on a full disk: existed %v, %v", existed, err)
	}
	if _, err := cl.Get(ctx, "victim"); !errors.Is(err, client.ErrNotFound) {
		t.Fatalf("get on a full disk: %v", err)
	}
	l.audit(t, cl)
	for _, n := range c.nodes { // a full disk is no reason not to start
		n.kill()
		c.start(n)
	}
	l.audit(t, cl)
	free()
	untilRoom(ctx, t, cl)
	l.audit(t, cl)
}

// Each node has a small file system of its own. A full follower stays, votes
// and acknowledges while it can, and never leads; then it waits, and catches up
// when there is room. A full leader makes way for a member with room. When all
// are full, writes are refused, deletes and reads are served.
func TestFullDisks(t *testing.T) {
	const size, rest = 4 << 30, 8 << 20 // the file is as large as what is written
	disks := []*smallFS{mountSmall(t, size), mountSmall(t, size), mountSmall(t, size)}
	c := clusterOn(t, disks...)
	cl := c.open()
	defer cl.Close()
	l := startStress("full/", cl)
	defer l.end()
	l.reach(t, 1000)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()

	lead := c.leader(cl)
	full := c.nodes[(c.index(lead)+1)%3]
	free := disks[c.index(full)].fill(rest)
	full.becomes(t, cl, "nospace")
	l.reach(t, l.acked.Load()+1000)
	lead.kill()
	l.reach(t, l.acked.Load()+1000) // with the full one's vote and acknowledgements
	if now := c.leader(cl); now == full {
		t.Error("the full node leads, though another has room")
	}
	c.start(lead)
	lead.becomes(t, cl, "ok")
	untilStuck(ctx, t, cl, full)
	l.reach(t, l.acked.Load()+1000)
	free()
	l.end()
	c.converges(cl)

	lead = c.leader(cl)
	free = disks[c.index(lead)].fill(rest)
	lead.becomes(t, cl, "nospace")
	lead.until(t, cl, "another leader", func(m member) bool { return m.Role != "leader" })
	m := startStress("led/", cl)
	defer m.end()
	m.reach(t, 1000)
	if now := c.leader(cl); now == lead {
		t.Error("the full node leads, though others have room")
	}
	free()
	m.end()
	c.converges(cl)

	if _, err := cl.Put(ctx, "victim", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for i, d := range disks {
		defer d.fill(rest)()
		c.nodes[i].becomes(t, cl, "nospace")
	}
	untilFull(ctx, t, cl)
	if _, existed, err := cl.Delete(ctx, "victim"); err != nil || !existed {
		t.Errorf("delete on full disks: existed %v, %v", existed, err)
	}
	l.audit(t, cl)
	m.audit(t, cl)
}

// untilStuck writes large values, none of which may be refused, until a full
// follower has nothing left to write to.
func untilStuck(ctx context.Context, t *testing.T, cl *client.Client, full *clusterNode) {
	t.Helper()
	value := make([]byte, wire.MaxCommandBytes/2)
	for full.metric(t, "dnode_raft_durable_index")+500 > full.metric(t, "dnode_raft_commit_index") {
		if _, err := cl.Put(ctx, "ballast", value); errors.Is(err, client.ErrNoSpace) || ctx.Err() != nil {
			t.Fatalf("one of three disks is full: %v", err)
		}
	}
}

// untilRoom waits until writes are taken again.
func untilRoom(ctx context.Context, t *testing.T, cl *client.Client) {
	t.Helper()
	for {
		_, err := cl.Put(ctx, "room", []byte("again"))
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("with room again, a write is still refused: %v", err)
		}
		pause(ctx, t)
	}
}

// untilFull writes large values until a leader refuses them for lack of space.
func untilFull(ctx context.Context, t *testing.T, cl *client.Client) {
	t.Helper()
	value := make([]byte, wire.MaxCommandBytes/2)
	for {
		_, err := cl.Put(ctx, "ballast", value)
		if errors.Is(err, client.ErrNoSpace) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("the disk is full, and no write was refused for it; last: %v", err)
		}
	}
}
