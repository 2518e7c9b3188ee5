package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// noEtcd is the value of -etcd that leaves etcd out.
const noEtcd = "none"

// etcdVersions are the versions that -etcd chooses from, by their branch.
var etcdVersions = map[string]string{"3.5": "v3.5.35", "3.6": "v3.6.16", "3.7": "v3.7.3"}

// options are the flags as given, checked.
type options struct {
	scenarios []scenario
	quick     bool
	list      bool
	rounds    int
	measure   time.Duration // per run
	warmUp    time.Duration
	etcd      string // version without the v; empty: left out
	dnodeBin  string
	etcdBin   string
	toolBin   string
	cross     bool
	out       string
	load      shape
	args      []string
}

// shape is what all scenarios share unless they say otherwise.
type shape struct {
	keySize   int
	valueSize int
	keys      int
}

const usageHead = `Measures dnode against etcd on this machine and writes a report.

  go -C bench run .                      everything: hours
  go -C bench run . -quick               the rows that matter most: about ten minutes
  go -C bench run . -only put,get-1-1    some scenarios, by name or by group
  go -C bench run . -quick -only embedded    Raft libraries in one process each: five minutes
  go -C bench run . -list                the scenarios

It builds dnode from this tree and etcd from its modules, starts the nodes of one
system at a time on loopback, each run with empty data folders on the same disk, and
puts the same load on both, in turn, in several rounds. Everything that it starts is
stopped again, on Ctrl-C too. What all columns mean: go -C bench doc.

`

// parseOptions reads the flags. A flag that cannot be is refused by its name.
func parseOptions(args []string, out io.Writer) (options, error) {
	opt := options{args: args}
	var seconds, warmUp float64
	var etcd, only string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&opt.quick, "quick", false, "few scenarios and short runs: about ten minutes")
	fs.StringVar(&only, "only", "", "scenarios or groups to run, separated by `commas`")
	fs.BoolVar(&opt.list, "list", false, "print the scenarios and exit")
	fs.IntVar(&opt.rounds, "rounds", 5, "times that every scenario is run on every system")
	fs.Float64Var(&seconds, "seconds", 8, "measured time of one run (-quick: 2)")
	fs.Float64Var(&warmUp, "warm-up", 2, "`seconds` of load before it (-quick: 1)")
	fs.StringVar(&etcd, "etcd", "3.6", "etcd to compare with: 3.5, 3.6, 3.7 or none")
	fs.StringVar(&opt.dnodeBin, "dnode-bin", "", "dnode `binary` to use instead of building one")
	fs.StringVar(&opt.etcdBin, "etcd-bin", "", "etcd `binary` to use instead of building one")
	fs.StringVar(&opt.toolBin, "benchmark-bin", "", "etcd's benchmark tool, a `binary` to use instead of building one")
	fs.BoolVar(&opt.cross, "cross-check", true, "drive etcd with its own benchmark tool as well")
	fs.StringVar(&opt.out, "out", "", "`folder` of the report (default out/ and the time)")
	fs.IntVar(&opt.load.keySize, "key-size", 8, "bytes of a key")
	fs.IntVar(&opt.load.valueSize, "val-size", 256, "bytes of a value")
	fs.IntVar(&opt.load.keys, "keys", 10_000, "different keys")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, usageHead)
			fs.SetOutput(out)
			fs.PrintDefaults()
		}
		return opt, err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if opt.quick && !given["seconds"] {
		seconds = 2
	}
	if opt.quick && !given["warm-up"] {
		warmUp = 1
	}
	opt.measure = time.Duration(seconds * float64(time.Second))
	opt.warmUp = time.Duration(warmUp * float64(time.Second))
	if fs.NArg() > 0 {
		return opt, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return opt, opt.check(etcd, only)
}

// check completes the options and refuses what cannot be run.
func (opt *options) check(etcd, only string) error {
	version, known := etcdVersions[etcd]
	opt.etcd = strings.TrimPrefix(version, "v")
	for _, bad := range []struct {
		is   bool
		text string
	}{
		{!known && etcd != noEtcd, fmt.Sprintf("-etcd %s is not one of %s or %s", etcd, strings.Join(slices.Sorted(maps.Keys(etcdVersions)), ", "), noEtcd)},
		{etcd == noEtcd && opt.etcdBin != "", "-etcd none and -etcd-bin exclude each other"},
		{opt.rounds < 1 || opt.rounds > 1000, fmt.Sprintf("-rounds %d is not between 1 and 1000", opt.rounds)},
		{opt.measure < 200*time.Millisecond || opt.measure > time.Hour, fmt.Sprintf("-seconds %v is not between 0.2 and 3600", opt.measure.Seconds())},
		{opt.warmUp < 0 || opt.warmUp > time.Hour, fmt.Sprintf("-warm-up %v is not between 0 and 3600", opt.warmUp.Seconds())},
		{opt.load.keySize < 8 || opt.load.keySize > 4096, fmt.Sprintf("-key-size %d is not between 8 and 4096", opt.load.keySize)},
		{opt.load.valueSize < 1 || opt.load.valueSize > 1<<20-8192, fmt.Sprintf("-val-size %d is not between 1 and %d", opt.load.valueSize, 1<<20-8192)},
		{opt.load.keys < 1000 || opt.load.keys > 10_000_000, fmt.Sprintf("-keys %d is not between 1000 and 10000000", opt.load.keys)},
	} {
		if bad.is {
			return errors.New(bad.text)
		}
	}
	var err error
	if opt.scenarios, err = choose(only, opt.quick); err != nil {
		return err
	}
	if !slices.ContainsFunc(opt.scenarios, func(s scenario) bool { return s.group != embeddedGroup }) {
		opt.etcd = "" // nobody asks for it
	}
	if opt.out == "" {
		opt.out = filepath.Join("out", time.Now().Format("2006-01-02-150405"))
	}
	opt.out, err = filepath.Abs(opt.out)
	return err
}
