package main

import (
	"context"
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
	n.ends(t, "n3", "cluster", "replica")
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
		n.ends(t, n.name, "cluster")
	}
}

// A folder belongs to one name, and to one process at a time.
func TestFolderOfAnother(t *testing.T) {
	c := founded(t)
	n := c.nodes[1]
	p := start(t, "serve", "--data-dir", n.dir, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--http", "")
	p.ends(t, n.dir, "in use")

	n.kill()
	other := &clusterNode{name: "n1", dir: n.dir, client: n.client, peer: n.peer}
	c.start(other)
	other.ends(t, "n2", "n1")

	broken := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(broken, os.DirFS(n.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(broken, "identity")); err != nil {
		t.Fatal(err)
	}
	lost := &clusterNode{name: "n2", dir: broken, client: n.client, peer: n.peer}
	c.start(lost)
	lost.ends(t, "identity")
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
		return strings.Contains(s, "another cluster") || strings.Contains(s, "wrong cluster")
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
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !strings.Contains(n.err.String(), "WARN") && !strings.Contains(n.err.String(), "WRN") {
		if ctx.Err() != nil {
			t.Fatalf("another --cluster is not warned about:\n%s", tail(n.err.String(), 3000))
		}
		pause(ctx, t)
	}
}
