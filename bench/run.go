package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/bench/embedded"
	"github.com/dnode-engine/dnode/client/load"
)

// runner runs scenarios.
type runner struct {
	opt     options
	group   *group
	bins    binaries
	data    string // folder for data, on the disk that is measured
	self    string // this program
	lines   map[string][]string
	control *control
}

// seconds is d as a number.
func seconds(d time.Duration) float64 { return d.Seconds() }

// order is the load of a scenario on a system.
func (r *runner) order(s *scenario, c *cluster) order {
	o := order{
		System: c.system, Endpoints: c.endpoints(), Op: s.op, Level: s.level, Conns: s.conns, Clients: s.clients,
		KeySize: r.opt.load.keySize, ValueSize: r.opt.load.valueSize, Keys: r.opt.load.keys, Seed: 1,
		Total: s.total, Duration: r.opt.measure, WarmUp: r.opt.warmUp,
	}
	if s.value > 0 {
		o.ValueSize = s.value
	}
	if s.keys > 0 {
		o.Keys = s.keys
	}
	if s.total > 0 {
		o.Duration, o.WarmUp, o.InOrder = 0, 0, true
	}
	return o
}

// fill writes every key once.
func (r *runner) fill(ctx context.Context, c *cluster, o order) error {
	o.Op, o.Level, o.Total, o.Duration, o.WarmUp, o.InOrder = load.Put, linearizable, int64(o.Keys), 0, 0, true
	o.Conns, o.Clients = min(o.Keys, 10), min(o.Keys, 200)
	m, err := r.work(ctx, o, func() error { return nil })
	if err == nil && m.Load.Errors > 0 {
		err = fmt.Errorf("%d errors: %v", m.Load.Errors, m.Load.Codes())
	}
	if err != nil {
		return fmt.Errorf("cannot write the keys: %w", err)
	}
	return nil
}

// measure runs one scenario on one system, with a cluster of its own.
func (r *runner) measure(ctx context.Context, s *scenario, system string) (out run, err error) {
	if s.group == embeddedGroup {
		return r.measureEmbedded(ctx, s, system)
	}
	bin := r.bins.dnode
	if system != sysDnode {
		bin = r.bins.etcd
	}
	c, err := startCluster(ctx, r.group, clusterPlan{
		system: system, bin: bin, dir: filepath.Join(r.data, system), nodes: s.nodes, oneCore: s.oneCore,
	})
	if err != nil {
		return run{}, err
	}
	defer c.stop()
	if s.nodes == 3 && !s.oneCore && r.lines[system] == nil {
		for _, m := range c.members {
			line := strings.ReplaceAll(fmt.Sprint(m.proc.cmd), filepath.Dir(bin)+string(filepath.Separator), "")
			r.lines[system] = append(r.lines[system], strings.ReplaceAll(line, r.data, "data"))
		}
	}
	o := r.order(s, c)
	if s.op != load.Put {
		if err := r.fill(ctx, c, o); err != nil {
			return run{}, err
		}
	}
	if s.peak > 0 {
		m, err := r.work(ctx, o, func() error { return nil })
		if err != nil {
			return run{}, err
		}
		out.PeakOpsPerSec = m.Load.OpsPerSec
		o.Rate = s.peak * m.Load.OpsPerSec
	}
	return out, r.observe(ctx, c, o, &out)
}

// observe puts the load on the cluster and watches the servers meanwhile.
func (r *runner) observe(ctx context.Context, c *cluster, o order, out *run) error {
	if c.system == sysTool { // its time is not ours to cut, only its figures are of use
		res, err := r.tool(ctx, o)
		out.Load = res
		return err
	}
	var used []usage
	var counted []samples
	var busy, own time.Duration
	var begun time.Time
	var written int64
	control := func() latency { return latency{} }
	m, err := r.work(ctx, o, func() (err error) {
		counted, err = c.counted(ctx)
		control = r.control.start()
		begun, busy, own = time.Now(), busyCPU(), embedded.CPU()
		written = diskBytes(r.data)
		used = c.used() // last, so that the scrape does not count
		return err
	})
	after := c.used() // first, for the same reason
	out.WrittenBytes = diskBytes(r.data) - written
	took := time.Since(begun)
	busy, own = busyCPU()-busy, embedded.CPU()-own
	out.Control = control()
	if err != nil {
		return err
	}
	out.Load, out.Hist, out.Puts, out.Gets, out.ClientCPUSeconds = m.Load, m.Histogram, m.Puts, m.Gets, seconds(m.ClientCPU)
	last, err := c.counted(ctx)
	if err != nil {
		return err
	}
	if counted == nil {
		return errors.New("the load ended before its warm-up did")
	}
	own += m.ClientCPU
	out.SyncTimes = syncTimes(counted, last)
	for i := range c.members {
		i := (c.leader + i) % len(c.members)
		out.Servers = append(out.Servers, serverUse{
			CPUSeconds: seconds(after[i].CPU - used[i].CPU), ResidentKiB: after[i].ResidentKiB, PeakKiB: after[i].PeakKiB,
			Syncs: grown(counted[i], last[i], syncCounters),
		})
		own += after[i].CPU - used[i].CPU
		out.Elections = max(out.Elections, grown(counted[i], last[i], electionCounters))
	}
	out.OtherCores = max(0, seconds(busy-own)/seconds(took))
	return nil
}

// work has a worker carry out an order; begin is called when its warm-up is
// over.
func (r *runner) work(ctx context.Context, o order, begin func() error) (m *measured, err error) {
	err = r.tell(ctx, exec.Command(r.self, workerCommand), o, func(_ *process, answers *json.Decoder) error {
		m, err = listen(answers, begin)
		return err
	})
	return m, err
}

// errSilent says that a process has ended without a result.
var errSilent = errors.New("no result")

// tell starts a process, gives it an order, a line of JSON on its input, which
// stays open, and hears its answers. It ends with the last of them.
func (r *runner) tell(ctx context.Context, cmd *exec.Cmd, order any, hear func(p *process, answers *json.Decoder) error) error {
	line, err := json.Marshal(order)
	if err != nil {
		return fmt.Errorf("cannot write the order: %w", err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("cannot start the load: %w", err)
	}
	defer in.Close()
	// A pipe of our own: Wait closes those that it made, read or not.
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot start the load: %w", err)
	}
	defer reader.Close()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &said
	p := &process{name: "load", cmd: cmd}
	err = r.group.run(p)
	writer.Close()
	if err != nil {
		return err
	}
	defer r.group.stop(p)
	defer context.AfterFunc(ctx, func() { r.group.stop(p) })()
	if _, err := in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("cannot tell the load its order: %w", err)
	}
	err = hear(p, json.NewDecoder(bufio.NewReader(reader)))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errSilent) {
		<-p.done
		err = fmt.Errorf("the load has failed: %w: %s", outcome(p.err), tailOf(strings.TrimSpace(said.String())))
	}
	return err
}

// listen reads a worker's answers up to the result.
func listen(answers *json.Decoder, begin func() error) (*measured, error) {
	for {
		var a answer
		if answers.Decode(&a) != nil {
			return nil, errSilent
		}
		if a.Result != nil {
			return a.Result, nil
		}
		if a.Measuring {
			if err := begin(); err != nil {
				return nil, err
			}
		}
	}
}
