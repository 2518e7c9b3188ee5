package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
)

// process is one that this program has started.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file with all that it said
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done is closed
}

// group is every process that runs. Each is in a process group of its own, so
// that Ctrl-C reaches only this program, which then stops them in order; on
// Linux they are also killed if this program is.
type group struct {
	mu      sync.Mutex
	running []*process
	stopped bool
}

// start begins a process whose output goes to the file log. dir is its working
// folder.
func (g *group) start(name, log string, args []string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	defer out.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = filepath.Dir(log)
	cmd.Stdout, cmd.Stderr = out, out
	p := &process{name: name, cmd: cmd, log: log}
	if err := g.run(p); err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the command of p and watches it.
func (g *group) run(p *process) error {
	p.cmd.SysProcAttr = ownGroup()
	p.done = make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return fmt.Errorf("cannot start %s: everything is being stopped", p.name)
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	g.running = append(g.running, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.running = slices.DeleteFunc(g.running, func(q *process) bool { return q == p })
	}()
	return nil
}

// pid is the number of the process.
func (p *process) pid() int { return p.cmd.Process.Pid }

// ended says whether the process has ended, and how.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %w; it said:\n%s", p.name, outcome(p.err), tail(p.log))
	default:
		return nil
	}
}

// outcome says how a process ended.
func outcome(err error) error {
	if err == nil {
		return errors.New("exit code 0")
	}
	return err
}

// tail returns the last lines of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// stop kills processes and waits for their end. Nothing that they could still
// do is of use: data folders are thrown away, results were handed over.
func (g *group) stop(ps ...*process) {
	for _, p := range ps {
		_ = p.cmd.Process.Kill() // it may have ended already
	}
	for _, p := range ps {
		<-p.done
	}
}

// stopAll ends everything; nothing is started afterwards.
func (g *group) stopAll() {
	g.mu.Lock()
	g.stopped = true
	left := slices.Clone(g.running)
	g.mu.Unlock()
	g.stop(left...)
}
