//go:build linux && root

package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// A file system that turns read-only under load takes its node out, and no
// other: the node says so everywhere, goes on answering what it may, and is back
// once the file system is. Its fence marker could not be written; what the log
// shows at the next start is written again before it counts. Whether it is a
// follower, the leader, or all of them: nothing acknowledged is lost.
func TestReadOnlyDisk(t *testing.T) {
	const size = 1 << 30
	disks := []*smallFS{mountSmall(t, size), mountSmall(t, size), mountSmall(t, size)}
	c := clusterOn(t, disks...)
	cl := c.open()
	defer cl.Close()
	l := startStress("ro/", cl)
	defer l.end()
	l.reach(t, 1000)

	lead := c.leader(cl)
	follower := c.nodes[(c.index(lead)+1)%3]
	for _, n := range []*clusterNode{follower, lead} {
		disks[c.index(n)].breakDown()
		n.fenced(t, cl)
		l.reach(t, l.acked.Load()+1000)
		n.stopFenced(t)
		c.start(n)
		n.ends(t, n.dir, "read-only", "mount it writable")
		disks[c.index(n)].repair()
		c.start(n)
		c.converges(cl)
		l.reach(t, l.acked.Load()+1000)
	}

	for _, d := range disks {
		d.breakDown()
	}
	fenced := c.mostFenced(cl) // the last one has no majority, and nothing to write
	l.end()
	for i, n := range c.nodes {
		if fenced[i] {
			n.fenced(t, cl)
			n.stopFenced(t)
		}
		n.kill()
		disks[i].repair()
		c.start(n)
	}
	l.audit(t, c.open())
	c.converges(cl)
}

// fenced waits until a node has noticed that its disk fails, and checks that it
// tells whoever asks.
func (n *clusterNode) fenced(t *testing.T, cl *client.Client) {
	t.Helper()
	n.becomes(t, cl, "fenced")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for { // pages show what was published a moment ago
		code, text := n.page(t, "/readyz")
		if code == 503 && strings.Contains(text, "fenced: ") && strings.Contains(text, "read-only file system") {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: readyz %d %q", n.name, code, text)
		}
		pause(ctx, t)
	}
	if code, text := n.page(t, "/livez"); code != 200 {
		t.Errorf("%s: livez %d %q", n.name, code, text)
	}
	if v := n.metric(t, "dnode_wal_fenced"); v != 1 {
		t.Errorf("%s: dnode_wal_fenced %d", n.name, v)
	}
	if said := n.err.String(); !strings.Contains(said, `"disk.fenced"`) {
		t.Errorf("%s does not say that it is fenced", n.name)
	}
}

// stopFenced stops a fenced node in order: it ends with the reason.
func (n *clusterNode) stopFenced(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code := n.wait(t, 20*time.Second)
	if said := tail(n.err.String(), 1000); code != exitOther || !strings.Contains(said, "dnode: ") || !strings.Contains(said, "check the disk") || !strings.Contains(said, "read-only file system") {
		t.Errorf("%s ends with code %d, saying %s", n.name, code, said)
	}
}

// mostFenced waits until a majority is fenced, and returns who is.
func (c *cluster) mostFenced(cl *client.Client) []bool {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	for ; ; pause(ctx, c.t) {
		is, count := make([]bool, len(c.nodes)), 0
		for i, n := range c.nodes {
			if m, _, err := ask(ctx, cl, n.client); err == nil && m.State == "fenced" {
				is[i] = true
				count++
			}
		}
		if count > len(c.nodes)/2 {
			return is
		}
	}
}
