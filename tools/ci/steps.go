package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/tools/repolint"
)

// testLimit is what the test command of the README may take.
const testLimit = 3 * time.Minute

// findModules returns the folders that hold a go.mod, the root's first.
func findModules(root string) ([]string, error) {
	modules := []string{"."}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.Name() == "go.mod" && filepath.Dir(p) != root {
			rel, err := filepath.Rel(root, filepath.Dir(p))
			modules = append(modules, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot find the modules: %w", err)
	}
	slices.Sort(modules[1:])
	return modules, nil
}

// goCmd runs the go command in a module; what it says goes to out.
func (c *ci) goCmd(module string, out io.Writer, args ...string) error {
	return c.exec(module, out, nil, append([]string{"go"}, args...)...)
}

func (c *ci) exec(dir string, out io.Writer, env []string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = filepath.Join(c.root, filepath.FromSlash(dir))
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s (in %s): %w", strings.Join(args, " "), dir, err)
	}
	return nil
}

// each runs the go command in every module that has packages.
func (c *ci) each(out io.Writer, args ...string) error {
	for _, m := range c.modules {
		if !c.hasGo(m) {
			continue
		}
		if err := c.goCmd(m, out, args...); err != nil {
			return err
		}
	}
	return nil
}

// hasGo reports whether a module holds packages: tools/lint only pins tools.
func (c *ci) hasGo(module string) bool {
	cmd := exec.Command("go", "list", "./...")
	cmd.Dir = filepath.Join(c.root, filepath.FromSlash(module))
	out, err := cmd.Output()
	return err != nil || len(out) > 0 // on an error the check itself shall fail
}

// tool builds a pinned tool, from the build cache after the first time, and
// returns its path.
func (c *ci) tool(name string) (string, error) {
	cmd := exec.Command("go", "tool", "-n", name)
	cmd.Dir = filepath.Join(c.root, "tools", "lint")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("cannot build %s of tools/lint: %w: %s", name, err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

func (c *ci) format(out io.Writer) error {
	gofumpt, err := c.tool("gofumpt")
	if err != nil {
		return err
	}
	var names bytes.Buffer
	if err := c.exec(".", &names, nil, gofumpt, "-l", "."); err != nil {
		out.Write(names.Bytes())
		return err
	}
	if names.Len() > 0 {
		out.Write(names.Bytes())
		return errors.New("the files above need gofumpt -w")
	}
	return nil
}

func (c *ci) vet(out io.Writer) error { return c.each(out, "vet", "./...") }

func (c *ci) fix(out io.Writer) error { return c.each(out, "fix", "-diff", "./...") }

func (c *ci) lint(out io.Writer) error {
	repo, err := repolint.Load(c.root)
	if err != nil {
		return err
	}
	found := repo.Check()
	for _, v := range found {
		fmt.Fprintln(out, v)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d violations", len(found))
	}
	return nil
}

func (c *ci) staticcheck(out io.Writer) error {
	staticcheck, err := c.tool("staticcheck")
	if err != nil {
		return err
	}
	for _, m := range c.modules {
		if !c.hasGo(m) {
			continue
		}
		if err := c.exec(m, out, nil, staticcheck, "./..."); err != nil {
			return err
		}
	}
	return nil
}

// deadcode looks from the commands and the tests of the root module.
func (c *ci) deadcode(out io.Writer) error {
	deadcode, err := c.tool("deadcode")
	if err != nil {
		return err
	}
	var found bytes.Buffer
	err = c.exec(".", &found, nil, deadcode, "-test", "./...")
	out.Write(found.Bytes())
	if err == nil && found.Len() > 0 {
		err = errors.New("functions that nothing reaches: use them in a test or remove them")
	}
	return err
}

// test runs the README's test command and keeps its package lines.
func (c *ci) test(out io.Writer) error {
	var said bytes.Buffer
	start := time.Now()
	err := c.goCmd(".", &said, "test", "./...")
	out.Write(said.Bytes())
	for line := range strings.Lines(said.String()) {
		if !strings.Contains(line, "[no test files]") {
			c.tests = append(c.tests, strings.TrimRight(line, "\n"))
		}
	}
	if took := time.Since(start); err == nil && took > testLimit {
		fmt.Printf("warning: go test ./... took %v, compiling included; the README promises %v\n", took.Round(time.Second), testLimit)
	}
	return err
}

func (c *ci) nested(out io.Writer) error {
	for _, m := range c.modules[1:] {
		if !c.hasGo(m) {
			continue
		}
		if err := c.goCmd(m, out, "test", "./..."); err != nil {
			return err
		}
	}
	return nil
}

func (c *ci) race(out io.Writer) error { return c.goCmd(".", out, "test", "-race", "./...") }

// cross builds for every platform and vets the one least like this machine.
func (c *ci) cross(out io.Writer) error {
	for _, goos := range []string{"linux", "darwin"} {
		for _, goarch := range []string{"amd64", "arm64"} {
			env := []string{"GOOS=" + goos, "GOARCH=" + goarch, "CGO_ENABLED=0"}
			if err := c.exec(".", out, env, "go", "build", "./..."); err != nil {
				return fmt.Errorf("%s/%s: %w", goos, goarch, err)
			}
		}
	}
	return c.exec(".", out, []string{"GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0"}, "go", "vet", "./...")
}

// outside builds what a user of the module would: our command, and a program
// over the client and the node, in a module that takes this one from its folder.
func (c *ci) outside(out io.Writer) error {
	dir, err := os.MkdirTemp("", "dnode-ci-outside-")
	if err != nil {
		return fmt.Errorf("cannot make a scratch folder: %w", err)
	}
	defer os.RemoveAll(dir)
	own, err := os.ReadFile(filepath.Join(c.root, "go.mod"))
	if err != nil {
		return fmt.Errorf("cannot read go.mod: %w", err)
	}
	sums, err := os.ReadFile(filepath.Join(c.root, "go.sum"))
	if err != nil {
		return fmt.Errorf("cannot read go.sum: %w", err)
	}
	mod := strings.Replace(string(own), "module "+repolint.Module, "module outside", 1) +
		fmt.Sprintf("\nrequire %s v0.0.0\n\nreplace %s => %s\n", repolint.Module, repolint.Module, c.root)
	for name, text := range map[string]string{"go.mod": mod, "go.sum": string(sums), "main.go": outsideProgram} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("cannot write the scratch module: %w", err)
		}
	}
	for _, pkg := range []string{".", repolint.Module + "/cmd/dnode"} {
		cmd := exec.Command("go", "build", "-mod=mod", "-o", os.DevNull, pkg)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("cannot build %s from outside: %w", pkg, err)
		}
	}
	return nil
}

const outsideProgram = `package main

import (
	"context"

	"github.com/dnode-engine/dnode/client"
	"github.com/dnode-engine/dnode/node"
)

func main() {
	ctx := context.Background()
	n, err := node.Start(ctx, node.Config{Name: "n1", DataDir: "data"})
	if err != nil {
		panic(err)
	}
	c, err := client.Open(ctx, client.Config{Endpoints: []string{n.ClientAddr()}})
	if err != nil {
		panic(err)
	}
	if _, err := c.Put(ctx, "k", []byte("v")); err != nil {
		panic(err)
	}
}
`

// fuzz runs every fuzz function of the root module, one after the other, each
// with a test binary that is built once per package.
func (c *ci) fuzz(out io.Writer) error {
	targets, err := findFuzz(c.root)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("no fuzz function found: the decoders must have some")
	}
	scratch, err := os.MkdirTemp("", "dnode-ci-fuzz-")
	if err != nil {
		return fmt.Errorf("cannot make a scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	for i, dir := range slices.Sorted(maps.Keys(targets)) {
		bin := filepath.Join(scratch, fmt.Sprintf("fuzz%d.test", i))
		if err := c.goCmd(dir, out, "test", "-c", "-fuzz=.", "-o", bin, "."); err != nil {
			return err
		}
		for _, name := range targets[dir] {
			args := []string{
				bin, "-test.run=^$", "-test.fuzz=^" + name + "$", "-test.parallel=2",
				"-test.fuzztime=" + c.fuzzTime.String(), "-test.fuzzcachedir=" + filepath.Join(scratch, "cache", dir),
			}
			if err := c.fuzzOne(dir, out, args); err != nil {
				return err
			}
		}
	}
	return nil
}

// fuzzOne runs one fuzz function. When its time is up the fuzzing engine now and
// then reports its own deadline as a failure; a real one has written its input.
func (c *ci) fuzzOne(dir string, out io.Writer, args []string) error {
	for attempt := 1; ; attempt++ {
		var said bytes.Buffer
		err := c.exec(dir, &said, nil, args...)
		if err == nil {
			return nil
		}
		own := strings.Contains(said.String(), "context deadline exceeded") && !strings.Contains(said.String(), "Failing input")
		if !own || attempt == 3 {
			out.Write(said.Bytes())
			return err
		}
	}
}
