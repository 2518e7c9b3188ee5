//go:build linux && root

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/client"
)

// smallFS is a file system of its own, in a file.
type smallFS struct {
	t          *testing.T
	kind       string // ext4 or xfs
	image, dir string
	mounted    bool
	frozen     bool
}

// mountSmall makes a file system of the given size and mounts it.
func mountSmall(t *testing.T, sizeBytes int64) *smallFS {
	t.Helper()
	return mountKind(t, "ext4", sizeBytes)
}

// mountKind is mountSmall for a kind of file system.
func mountKind(t *testing.T, kind string, sizeBytes int64) *smallFS {
	t.Helper()
	s := &smallFS{t: t, kind: kind, image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	f, err := os.Create(s.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(sizeBytes), f.Close()); err != nil {
		t.Fatal(err)
	}
	options := map[string][]string{"ext4": {"-q", "-F", "-m", "0"}, "xfs": {"-q", "-f"}}[kind]
	s.must(command("mkfs."+kind, append(options, s.image)...))
	s.must(s.mount())
	t.Cleanup(func() {
		if s.mounted {
			s.must(s.umount())
		}
	})
	return s
}

func (s *smallFS) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}

func (s *smallFS) mount() error {
	options := "loop"
	if s.kind == "ext4" {
		options += ",errors=remount-ro"
	}
	err := command("mount", "-o", options, "-t", s.kind, s.image, s.dir)
	s.mounted = err == nil
	return err
}

// umount also lets go of the loop device.
func (s *smallFS) umount() error {
	err := command("umount", s.dir)
	s.mounted = err != nil
	return err
}

// breakDown makes the kernel believe that the file system is damaged: it stops
// its journal and takes no more writes, as with errors=remount-ro in earnest.
func (s *smallFS) breakDown() {
	s.t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == s.dir {
			trigger := filepath.Join("/sys/fs/ext4", filepath.Base(f[0]), "trigger_fs_error")
			if err := os.WriteFile(trigger, []byte("test"), 0o200); err != nil {
				s.t.Fatal(err)
			}
			return
		}
	}
	s.t.Fatalf("%s is not mounted", s.dir)
}

// repair does what an operator does once nobody uses the file system.
func (s *smallFS) repair() {
	s.t.Helper()
	s.must(s.umount())
	out, err := exec.Command("e2fsck", "-p", "-f", s.image).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() > 1) { // 1: corrected
		s.t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	s.must(s.mount())
}

// fill takes all the room of the file system but the given rest, and returns
// what gives it back.
func (s *smallFS) fill(restBytes int64) (free func()) {
	s.t.Helper()
	name := filepath.Join(s.dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-restBytes); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		if err := os.Remove(name); err != nil {
			s.t.Fatal(err)
		}
	}
}

// clusterOn starts a node on each of the file systems, with HTTP.
func clusterOn(t *testing.T, disks ...*smallFS) *cluster {
	t.Helper()
	return clusterOfOn(t, binary, disks...)
}

// clusterOfOn runs another build of the command.
func clusterOfOn(t *testing.T, binary string, disks ...*smallFS) *cluster {
	t.Helper()
	c := &cluster{t: t, binary: binary}
	ports := freePorts(t, 3*len(disks))
	for i, d := range disks {
		name := fmt.Sprintf("n%d", i+1)
		c.nodes = append(c.nodes, &clusterNode{
			name: name, dir: filepath.Join(d.dir, name), client: ports[3*i], peer: ports[3*i+1], http: ports[3*i+2],
		})
	}
	for _, n := range c.nodes {
		c.start(n)
	}
	return c
}

// page returns the code and text of an admin page.
func (n *clusterNode) page(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + n.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// metric returns the value of one metric, given with its labels.
func (n *clusterNode) metric(t *testing.T, name string) uint64 {
	t.Helper()
	_, all := n.page(t, "/metrics")
	for line := range strings.Lines(all) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// until waits until a node says that a thing is so.
func (n *clusterNode) until(t *testing.T, cl *client.Client, what string, so func(m member) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for last := (member{}); ; {
		if m, _, err := ask(ctx, cl, n.client); err == nil {
			if last = m; so(m) {
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("waited too long for %s: %s; last: %+v", n.name, what, last)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// becomes waits until a node is in a state.
func (n *clusterNode) becomes(t *testing.T, cl *client.Client, state string) {
	t.Helper()
	n.until(t, cl, "state "+state, func(m member) bool { return m.State == state })
}

// converges waits until all nodes are well and have applied the same.
func (c *cluster) converges(cl *client.Client) {
	c.t.Helper()
	lead := c.leader(cl)
	m, _, err := ask(context.Background(), cl, lead.client)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range c.nodes {
		n.until(c.t, cl, fmt.Sprintf("entry %d", m.Commit), func(now member) bool { return now.State == "ok" && now.Applied >= m.Commit })
	}
}
