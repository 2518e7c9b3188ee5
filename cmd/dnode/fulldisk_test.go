//go:build linux && root

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/wire"
)

// mountSmall makes a file system of the given size in a file and mounts it.
func mountSmall(t *testing.T, sizeBytes int64) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(sizeBytes), f.Close()); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", "-m", "0", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run("umount", dir) })
	return dir
}

// fill takes all the room of a file system but the given rest.
func fill(t *testing.T, dir string, restBytes int64) string {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 1<<20)
	var size int64
	for err == nil {
		_, err = f.Write(chunk)
		size += int64(len(chunk))
	}
	if err := f.Truncate(size - restBytes); err != nil {
		t.Fatal(err)
	}
	return name
}

// A small file system with all three nodes on it fills up under load: writes are
// refused with a reason, deletes and reads are served, nobody has to do anything
// but make room, and nothing acknowledged is lost, a restart included.
func TestFullDisk(t *testing.T) {
	dir := mountSmall(t, 1<<30)
	c := &cluster{t: t, binary: binary}
	ports := freePorts(t, 6)
	for i := range 3 {
		name := fmt.Sprintf("n%d", i+1)
		c.nodes = append(c.nodes, &clusterNode{name: name, dir: filepath.Join(dir, name), client: ports[2*i], peer: ports[2*i+1]})
	}
	for _, n := range c.nodes {
		c.start(n)
	}
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
	filler := fill(t, dir, 8<<20)
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
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for {
		_, err := cl.Put(ctx, "room", []byte("again"))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("with room again, a write is still refused: %v", err)
		}
		pause(ctx, t)
	}
	l.audit(t, cl)
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
