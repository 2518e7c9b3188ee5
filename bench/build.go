package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Modules that are built as they are published, each in a module of its own
// since their dependencies exclude each other.
const (
	etcdPackage = "go.etcd.io/etcd/server/v3"
	toolPackage = "go.etcd.io/etcd/v3/tools/benchmark"
	// toolVersion is the newest whose tool can be told to ask the leader.
	toolVersion   = "v3.6.8"
	clientPackage = "go.etcd.io/etcd/client/v3"
)

// binaries are the paths of the programs under test.
type binaries struct {
	dnode string
	etcd  string
	tool  string
	// engines are the programs of the embedded scenarios, by system. One that
	// cannot be built is reported, the others are measured.
	engines map[string]built
}

// built is a program or why there is none.
type built struct {
	path string
	err  error
}

// buildAll builds what no flag has named. say tells what takes long.
func buildAll(ctx context.Context, opt *options, say func(format string, args ...any)) (b binaries, err error) {
	b = binaries{dnode: opt.dnodeBin, etcd: opt.etcdBin, tool: opt.toolBin}
	for _, p := range []*string{&b.dnode, &b.etcd, &b.tool} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return b, fmt.Errorf("cannot find a binary: %w", err)
		}
		if _, err := os.Stat(*p); err != nil {
			return b, fmt.Errorf("cannot find a binary: %w", err)
		}
	}
	dir, err := filepath.Abs(filepath.Join("out", "bin"))
	if err != nil {
		return b, fmt.Errorf("cannot find a place for binaries: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return b, fmt.Errorf("cannot make a folder for binaries: %w", err)
	}
	if b.dnode == "" {
		b.dnode = filepath.Join(dir, "dnode")
		say("building dnode from this tree\n")
		if err := goBuild(ctx, "..", b.dnode, "./cmd/dnode"); err != nil {
			return b, err
		}
	}
	if opt.etcd != "" && b.etcd == "" {
		b.etcd = filepath.Join(dir, "etcd-"+opt.etcd)
		if err := fromModule(ctx, b.etcd, etcdPackage+"@v"+opt.etcd, say); err != nil {
			return b, err
		}
	}
	if opt.cross && (opt.etcd != "" || b.etcd != "") && b.tool == "" {
		b.tool = filepath.Join(dir, "etcd-benchmark-"+toolVersion[1:])
		if err := fromModule(ctx, b.tool, toolPackage+"@"+toolVersion, say); err != nil {
			return b, err
		}
	}
	if slices.ContainsFunc(opt.scenarios, func(s scenario) bool { return s.group == embeddedGroup }) {
		b.engines = map[string]built{}
		for _, e := range engines {
			say("building %s with the program that embeds it\n", e.system)
			path := filepath.Join(dir, "embedded-"+e.system)
			b.engines[e.system] = built{path, goBuild(ctx, ".", path, "./embedded/"+e.pkg)}
		}
	}
	return b, ctx.Err()
}

// fromModule builds a published program, unless it was built before.
func fromModule(ctx context.Context, out, pkg string, say func(format string, args ...any)) error {
	if _, err := os.Stat(out); err == nil {
		return nil
	}
	say("building %s, the first time only\n", pkg)
	dir, err := os.MkdirTemp("", "dnode-bench-")
	if err != nil {
		return fmt.Errorf("cannot make a scratch module: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module scratch\n\ngo 1.26.0\n"), 0o600); err != nil {
		return fmt.Errorf("cannot make a scratch module: %w", err)
	}
	if err := goRun(ctx, dir, "get", pkg); err != nil {
		return err
	}
	path, _, _ := strings.Cut(pkg, "@")
	// Under another name at first: half a binary is never taken for a whole one.
	if err := goBuild(ctx, dir, out+".new", path); err != nil {
		return err
	}
	if err := os.Rename(out+".new", out); err != nil {
		return fmt.Errorf("cannot keep the binary: %w", err)
	}
	return nil
}

func goBuild(ctx context.Context, dir, out, pkg string) error {
	return goRun(ctx, dir, "build", "-trimpath", "-o", out, pkg)
}

func goRun(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot go %s: %w\n%s", strings.Join(args, " "), err, tailOf(said.String()))
	}
	return nil
}

// versionsOf says what is measured.
func versionsOf(ctx context.Context, b binaries) versions {
	v := versions{Commit: commit(ctx), Dnode: firstLine(ctx, b.dnode, "version"), Go: runtime.Version()}
	if b.etcd != "" {
		v.Etcd = strings.TrimPrefix(firstLine(ctx, b.etcd, "--version"), "etcd Version: ")
	}
	if b.tool != "" {
		v.EtcdTool = toolVersion[1:]
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == clientPackage {
				v.EtcdClient = strings.TrimPrefix(d.Version, "v")
			}
		}
	}
	return v
}

// commit is the commit of dnode's tree, with a + if it has changes.
func commit(ctx context.Context) string {
	id := firstLine(ctx, "git", "rev-parse", "--short=12", "HEAD")
	if id != unknown && firstLine(ctx, "git", "status", "--porcelain", "--", "..") != "" {
		id += "+"
	}
	return id
}

// firstLine is the first line that a program prints.
func firstLine(ctx context.Context, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).Output()
	if err != nil {
		return unknown
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
