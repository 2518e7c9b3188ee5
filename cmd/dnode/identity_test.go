package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// ends waits for a process that must not serve, and checks that it says why.
func (p *process) ends(t *testing.T, wants ...string) {
	t.Helper()
	if code := p.wait(t, 20*time.Second); code == exitOK {
		t.Errorf("it ends with code 0, saying %q", tail(p.err.String(), 1000))
	}
	lines := strings.Split(strings.TrimSpace(p.err.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "dnode: ") {
		t.Errorf("the last line is not the reason: %q", last)
	}
	for _, want := range wants {
		if !strings.Contains(last, want) {
			t.Errorf("it says %q, without %q", last, want)
		}
	}
}

// founded is a cluster of three with one key in it.
func founded(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, 3)
	cl := c.open()
	defer cl.Close()
	if _, err := cl.Put(context.Background(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	return c
}

// serves checks that the cluster still answers, with what it had.
func (c *cluster) serves() {
	c.t.Helper()
	cl := c.open()
	defer cl.Close()
	it, err := cl.Get(context.Background(), "k")
	if err != nil || string(it.Value) != "v" {
		c.t.Errorf("got %q, %v", it.Value, err)
	}
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

// A wiped node comes back as a stranger: it is told so, and stops. What it finds
// of the cluster is not touched.
func TestWipedNode(t *testing.T) {
	c := founded(t)
	n := c.nodes[2]
	n.kill()
	remove(t, n.dir)
	c.start(n)
	n.ends(t, "n3", "cluster", "replica", "its data folder was lost", "bring back that very folder")
	c.serves()
}

// Two wiped nodes of three are a majority of the names and still found nothing:
// they wait for the third, and stop when it is there.
func TestTwoWipedNodesOfThree(t *testing.T) {
	c := founded(t)
	c.killAll()
	for _, n := range c.nodes[1:] {
		remove(t, n.dir)
		c.start(n)
	}
	cl, err := client.Open(t.Context(), client.Config{Endpoints: strings.Split(c.endpoints(), ","), Timeout: 2 * time.Second})
	if err == nil {
		_, err = cl.Put(t.Context(), "k", []byte("other"))
		cl.Close()
	}
	if err == nil {
		t.Fatal("two wiped nodes of three took a write")
	}
	c.start(c.nodes[0])
	for _, n := range c.nodes[1:] {
		n.ends(t, n.name, "cluster", "bring back that very folder")
	}
}

// A folder belongs to one name, and to one process at a time.
func TestFolderOfAnother(t *testing.T) {
	c := founded(t)
	n := c.nodes[1]
	p := start(t, "serve", "--data-dir", n.dir, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--http", "")
	p.ends(t, n.dir, "in use", "stop it first, or use another --data-dir")

	n.kill()
	other := &clusterNode{name: "n1", dir: n.dir, client: n.client, peer: n.peer}
	c.start(other)
	other.ends(t, "n2", "n1", "use that name or another folder")

	without := func(part string, wants ...string) {
		t.Helper()
		broken := filepath.Join(t.TempDir(), "data")
		if err := os.CopyFS(broken, os.DirFS(n.dir)); err != nil {
			t.Fatal(err)
		}
		remove(t, filepath.Join(broken, part))
		lost := &clusterNode{name: "n2", dir: broken, client: n.client, peer: n.peer}
		c.start(lost)
		lost.ends(t, wants...)
	}
	without("identity", `"identity"`, "bring it back, or use another --data-dir")
	without("wal", "files are missing", "bring them back from a copy that is not older")
	c.start(n)
	c.serves()
}

// A member of one cluster that calls at another's address is refused by name,
// and both go on.
func TestNodeOfAnotherCluster(t *testing.T) {
	c, d := founded(t), founded(t)
	n := d.nodes[2]
	n.kill()
	stray := &clusterNode{name: "n3", dir: n.dir, client: n.client, peer: c.nodes[2].peer}
	c.nodes[2].kill()
	moved := *c
	moved.nodes = []*clusterNode{c.nodes[0], c.nodes[1], stray}
	moved.start(stray) // with the other's data, at the address that n1 and n2 call
	said := func(n *clusterNode) bool {
		s := n.err.String()
		return strings.Contains(s, "check the peer addresses")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !said(c.nodes[0]) && !said(c.nodes[1]) && !said(stray) {
		if ctx.Err() != nil {
			t.Fatalf("nobody says that the clusters differ:\n%s", tail(stray.err.String(), 3000))
		}
		pause(ctx, t)
	}
	moved.nodes = c.nodes[:2]
	moved.serves()
}

// moveTo gives a node that is stopped another peer address.
func (n *clusterNode) moveTo(t *testing.T, peer string) {
	t.Helper()
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.wait(t, 20*time.Second)
	n.peer = peer
}

// has waits until a node has a value of its own, however it got it.
func (n *clusterNode) has(t *testing.T, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl, err := client.Open(ctx, client.Config{Endpoints: []string{n.client}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for {
		it, err := cl.Get(ctx, key, client.ReadOptions{Consistency: client.Stale})
		if err == nil && string(it.Value) == value {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s has %q for %q, want %q, %v", n.name, it.Value, key, value, err)
		}
		pause(ctx, t)
	}
}

// puts writes, again if the outcome of a try is not known: it may meet a
// connection to a node that was killed a moment before.
func puts(t *testing.T, cl *client.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, err := cl.Put(ctx, key, []byte(value))
		if err == nil {
			return
		}
		if !errors.Is(err, client.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		pause(ctx, t)
	}
}

// says waits until a node has said something.
func (n *clusterNode) says(t *testing.T, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !strings.Contains(n.err.String(), what) {
		if ctx.Err() != nil {
			t.Fatalf("%s does not say %q:\n%s", n.name, what, tail(n.err.String(), 3000))
		}
		pause(ctx, t)
	}
}

// One node that has moved is found by the others at the address that it tells,
// though only its own list has it: it follows, and its vote and its disk count.
func TestOneNodeMoves(t *testing.T) {
	c := founded(t)
	cl := c.open()
	defer cl.Close()
	lead := c.leader(cl)
	moved := c.nodes[(c.index(lead)+1)%3]
	other := c.nodes[(c.index(lead)+2)%3]
	moved.moveTo(t, freePorts(t, 1)[0])
	puts(t, cl, "while", "away")
	c.start(moved)
	moved.says(t, "start.flags")
	lead.says(t, "link.moved")
	moved.has(t, "while", "away")
	lead.kill()
	puts(t, cl, "then", "led")
	other.kill()
	c.start(lead) // now with the new list, as the warning says
	puts(t, cl, "last", "two")
	moved.has(t, "last", "two")
}

// A cluster whose nodes have all moved finds itself again by its new list.
func TestAllNodesMove(t *testing.T) {
	c := founded(t)
	for i, addr := range freePorts(t, 3) {
		c.nodes[i].moveTo(t, addr)
	}
	for _, n := range c.nodes {
		c.start(n)
	}
	c.serves()
	for _, n := range c.nodes {
		n.says(t, "the list of members differs from the cluster's own")
		n.has(t, "k", "v")
	}
}

// A copied folder is one node on two addresses: the others say so, and what to
// do, and go on.
func TestCopiedFolder(t *testing.T) {
	c := founded(t)
	n := c.nodes[2]
	n.kill()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(n.dir)); err != nil {
		t.Fatal(err)
	}
	c.start(n)
	ports := freePorts(t, 2)
	twin := &clusterNode{name: n.name, dir: dir, client: ports[0], peer: ports[1]}
	moved := &cluster{t: t, binary: c.binary, nodes: []*clusterNode{c.nodes[0], c.nodes[1], twin}}
	moved.start(twin)
	c.nodes[0].says(t, "its data folder was copied and two nodes run on it: stop one of them for good")
	c.serves()
	twin.kill()
	n.has(t, "k", "v")
}

// Flags that differ from what the folder knows are a warning: membership comes
// from the folder.
func TestChangedFlags(t *testing.T) {
	c := founded(t)
	n := c.nodes[0]
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.wait(t, 10*time.Second)
	n.process = start(t, "serve", "--name", n.name, "--data-dir", n.dir, "--listen", n.client,
		"--peer-listen", n.peer, "--http", "", "--cluster", n.name+"="+n.peer+",n9=127.0.0.1:1")
	c.serves()
	n.says(t, "the list of members differs from the cluster's own, which holds")
	n.says(t, `"cluster_has":"n1=`)
}
