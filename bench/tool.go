package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/dnode-engine/dnode/client/load"
)

// toolGuess is how many operations a second etcd's own tool is thought to do
// when it is told how many to do: it cannot be told a time.
const toolGuess = 2000

// tool drives etcd with its own benchmark tool: a short run to learn how fast
// it is, which also warms up, and then one of the right length.
func (r *runner) tool(ctx context.Context, o order) (load.Result, error) {
	first, err := r.toolRun(ctx, o, int64(toolGuess*max(1, seconds(o.WarmUp))))
	if err != nil {
		return first, err
	}
	return r.toolRun(ctx, o, max(1000, int64(first.OpsPerSec*seconds(o.Duration))))
}

func (r *runner) toolRun(ctx context.Context, o order, total int64) (load.Result, error) {
	args := []string{
		"--endpoints=" + strings.Join(o.Endpoints, ","), "--target-leader", "--precise",
		fmt.Sprintf("--conns=%d", o.Conns), fmt.Sprintf("--clients=%d", o.Clients),
	}
	if o.Op == load.Put {
		args = append(args, "put", fmt.Sprintf("--key-size=%d", o.KeySize), fmt.Sprintf("--val-size=%d", o.ValueSize),
			fmt.Sprintf("--key-space-size=%d", o.Keys))
	} else {
		args = append(args, "range", fmt.Sprintf("%0*d", o.KeySize, o.Keys/2), "--consistency="+o.Level[:1])
	}
	args = append(args, fmt.Sprintf("--total=%d", total))
	var said bytes.Buffer
	cmd := exec.Command(r.bins.tool, args...)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Dir = filepath.Dir(r.data)
	p := &process{name: "benchmark tool", cmd: cmd}
	if err := r.group.run(p); err != nil {
		return load.Result{}, err
	}
	defer context.AfterFunc(ctx, func() { r.group.stop(p) })()
	<-p.done
	if ctx.Err() != nil {
		return load.Result{}, ctx.Err()
	}
	if p.err != nil {
		return load.Result{}, fmt.Errorf("etcd's benchmark tool has failed: %w: %s", p.err, tailOf(said.String()))
	}
	res, err := parseTool(said.String())
	res.Op, res.Conns, res.Clients, res.KeySize, res.ValueSize, res.Keys = o.Op, o.Conns, o.Clients, o.KeySize, o.ValueSize, o.Keys
	return res, err
}

func tailOf(s string) string { return s[max(0, len(s)-1000):] }

var (
	toolSummary = regexp.MustCompile(`(Total|Slowest|Average|Requests/sec):\s+([0-9.e+-]+)`)
	toolPercent = regexp.MustCompile(`([0-9.]+)% in ([0-9.e+-]+) secs`)
	toolCount   = regexp.MustCompile(`\[([0-9]+)\]`)
)

// parseTool reads what the tool prints: a summary, the latency distribution,
// and errors by their text with a count in front.
func parseTool(text string) (load.Result, error) {
	res := load.Result{ErrorsByCode: map[string]int64{}}
	for _, m := range toolSummary.FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return res, fmt.Errorf("cannot read the tool's %s: %w", m[1], err)
		}
		switch m[1] {
		case "Total":
			res.Seconds = v
		case "Slowest":
			res.MaxUs = v * 1e6
		case "Average":
			res.AvgUs = v * 1e6
		default:
			res.OpsPerSec = v
		}
	}
	for _, m := range toolPercent.FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return res, fmt.Errorf("cannot read the tool's percentile %s: %w", m[1], err)
		}
		switch m[1] {
		case "50":
			res.P50Us = v * 1e6
		case "90":
			res.P90Us = v * 1e6
		case "99":
			res.P99Us = v * 1e6
		case "99.9":
			res.P999Us = v * 1e6
		}
	}
	if _, errs, found := strings.Cut(text, "Error distribution:"); found {
		for _, m := range toolCount.FindAllStringSubmatch(errs, -1) {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			res.Errors += n
			res.ErrorsByCode["tool"] += n
		}
	}
	if res.OpsPerSec == 0 || res.P99Us == 0 {
		return res, errors.New("cannot read what etcd's benchmark tool prints: " + tailOf(text))
	}
	res.Ops = int64(res.OpsPerSec*res.Seconds + 0.5)
	res.InFlight = little(&res)
	return res, nil
}
