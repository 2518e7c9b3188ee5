package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
)

// TestMain makes this test binary the programs that the tests start: a worker
// and an echo, as the real one, and a server that never serves.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case workerCommand:
			os.Exit(ended(workerMain(os.Stdin, os.Stdout)))
		case echoCommand:
			os.Exit(ended(echoMain(os.Stdin, os.Stdout)))
		case libraryCommand:
			embedded.Main(startNothing)
		case "serve": // as dnode is started
			if os.Getenv("BENCH_TEST_SERVE") == "exit" {
				os.Exit(3)
			}
			select {}
		}
	}
	os.Exit(m.Run())
}

func self(t *testing.T) string {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// gone says whether a process no longer exists.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestStopAll(t *testing.T) {
	g := &group{}
	dir := t.TempDir()
	var pids []int
	for i := range 3 {
		p, err := g.start("n", filepath.Join(dir, strconv.Itoa(i)), []string{self(t), "serve"})
		if err != nil {
			t.Fatal(err)
		}
		if gone(p.pid()) {
			t.Fatal("did not start")
		}
		pids = append(pids, p.pid())
	}
	g.stopAll()
	for _, pid := range pids {
		if !gone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	if _, err := g.start("n", filepath.Join(dir, "late"), []string{self(t), "serve"}); err == nil {
		t.Error("something was started after everything was stopped")
	}
}

func TestStartFails(t *testing.T) {
	g := &group{}
	if _, err := g.start("nobody", filepath.Join(t.TempDir(), "log"), []string{"/no/such/program"}); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Error(err)
	}
	if len(g.running) != 0 {
		t.Error("counts as running")
	}
}

// A cluster that does not come up leaves no process and no data.
func TestClusterFails(t *testing.T) {
	f := func(mode, want string, limit time.Duration) {
		t.Helper()
		t.Setenv("BENCH_TEST_SERVE", mode)
		g, dir := &group{}, filepath.Join(t.TempDir(), "data")
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		_, err := startCluster(ctx, g, clusterPlan{system: sysDnode, bin: self(t), dir: dir, nodes: 3})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", mode, err)
		}
		g.mu.Lock()
		left := len(g.running)
		g.mu.Unlock()
		if _, err := os.Stat(dir); left > 0 || !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %d processes and the data are left: %v", mode, left, err)
		}
	}
	f("exit", "has ended: exit status 3", time.Minute)
	f("hang", "deadline exceeded", 300*time.Millisecond)
}

// A worker gives up when whoever gave the order is gone.
func TestWorkerIsNotLeftBehind(t *testing.T) {
	cmd := exec.Command(self(t), workerCommand)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addrs, err := embedded.FreeAddrs(1)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody listens there: the client tries again and again.
	if _, err := in.Write([]byte(`{"system":"dnode","endpoints":["` + addrs[0] + `"],"op":"put","level":"lease","duration_ns":3600000000000}` + "\n")); err != nil {
		t.Fatal(err)
	}
	in.Close()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Error(err)
	}
}
