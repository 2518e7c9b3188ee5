package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"github.com/dnode-engine/dnode/tools/internal/repo"
)

// options of one run of the command.
type options struct {
	run    *regexp.Regexp
	by     string // check to use instead of a mutant's own, "" its own
	budget time.Duration
	jobs   int
	json   bool
}

func main() {
	list := flag.Bool("list", false, "print the mutants, one a line, and exit")
	pattern := flag.String("run", "", "only mutants whose name matches this regular expression")
	by := flag.String("by", "", "let this check try, whatever the list says")
	budget := flag.Duration("budget", time.Minute, "CPU time of a check that never ends by itself")
	jobs := flag.Int("j", 2, "mutants at a time")
	asJSON := flag.Bool("json", false, "one JSON object a line")
	flag.Parse()
	o := options{by: *by, budget: *budget, jobs: max(*jobs, 1), json: *asJSON}
	err := error(nil)
	if o.run, err = regexp.Compile(*pattern); err == nil && flag.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q", flag.Arg(0))
	}
	if err == nil && o.by != "" && findCheck(o.by) == nil {
		err = fmt.Errorf("no check %q: %s", o.by, strings.Join(checkNames(), ", "))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(2)
	}
	if *list {
		printList(os.Stdout, o.chosen())
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := hunt(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// chosen returns the mutants that the options select.
func (o *options) chosen() []mutant {
	var some []mutant
	for _, m := range allMutants() {
		if !o.run.MatchString(m.name) {
			continue
		}
		if o.by != "" {
			m.by = o.by
		}
		some = append(some, m)
	}
	return some
}

func printList(w io.Writer, list []mutant) {
	for _, m := range list {
		note := ""
		if m.equal != "" {
			note = " [claimed equal]"
		}
		fmt.Fprintf(w, "%-26s %-7s %-3s %-28s %s%s\n", m.name, m.by, m.class, m.edits[0].file, m.breaks, note)
	}
}

// hunt runs the unmutated code and then every chosen mutant.
func hunt(ctx context.Context, o *options) error {
	root, err := repo.Root()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "dnode-mutants-")
	if err != nil {
		return fmt.Errorf("cannot make a scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	r := &runner{ctx: ctx, root: root, scratch: scratch, budget: o.budget}
	list := o.chosen()
	if len(list) == 0 {
		return errors.New("no mutant has such a name: -list prints them")
	}
	var sum summary
	if r.each(o.jobs, unmutated(list), func(m mutant, v verdict) { sum.baseline(o, m, v) }); len(sum.bad) > 0 {
		return fmt.Errorf("the unmutated code does not pass: %s", strings.Join(sum.bad, ", "))
	}
	r.each(o.jobs, list, func(m mutant, v verdict) { sum.add(o, m, v) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return sum.end(o, len(list))
}

// unmutated returns one mutant without edits for each check that is used.
func unmutated(list []mutant) []mutant {
	var base []mutant
	for _, c := range checks {
		for _, m := range list {
			if m.by == c.name {
				base = append(base, mutant{name: "(unmutated)", by: c.name})
				break
			}
		}
	}
	return base
}

// summary counts the outcomes.
type summary struct {
	killed, survived, equal, errors int
	bad                             []string
	cpu                             time.Duration
}

func (s *summary) baseline(o *options, m mutant, v verdict) {
	if v.Outcome == survived {
		v.Outcome = passed
	} else {
		s.bad = append(s.bad, m.by)
	}
	printVerdict(o, m, v)
}

func (s *summary) add(o *options, m mutant, v verdict) {
	switch {
	case v.Outcome == killed && m.equal != "":
		v = verdict{Outcome: broken, CPU: v.CPU, Detail: "claimed to be equal, and killed: " + v.String()}
		s.errors++
	case v.Outcome == killed:
		s.killed++
	case v.Outcome == survived && m.equal != "":
		v.Outcome, v.Detail = equal, m.equal
		s.equal++
	case v.Outcome == survived:
		s.survived++
	default:
		s.errors++
	}
	if v.Outcome == survived || v.Outcome == broken {
		s.bad = append(s.bad, m.name)
	}
	s.cpu += v.CPU
	printVerdict(o, m, v)
}

func (s *summary) end(o *options, total int) error {
	if !o.json {
		fmt.Printf("%d mutants: %d killed, %d survived, %d claimed equal, %d errors; %.0f CPU seconds\n",
			total, s.killed, s.survived, s.equal, s.errors, s.cpu.Seconds())
	}
	if len(s.bad) > 0 {
		return fmt.Errorf("not killed: %s", strings.Join(s.bad, ", "))
	}
	return nil
}

func printVerdict(o *options, m mutant, v verdict) {
	if !o.json {
		fmt.Printf("%-9s %-26s %-7s %6.1f s  %s\n", v.Outcome, m.name, m.by, v.CPU.Seconds(), v.String())
		return
	}
	line, err := json.Marshal(struct {
		Mutant     string  `json:"mutant"`
		Class      string  `json:"class,omitempty"`
		Check      string  `json:"check"`
		CPUSeconds float64 `json:"cpu_s"`
		verdict
	}{m.name, m.class, m.by, v.CPU.Seconds(), v})
	if err != nil {
		panic(err) // plain strings and numbers
	}
	fmt.Printf("%s\n", line)
}
