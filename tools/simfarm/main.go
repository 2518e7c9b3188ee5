// Command simfarm runs the simulator on many seeds, on all cores, and keeps what
// it finds.
//
//	go run ./tools/simfarm -for 1h                  seeds that nobody has seen
//	go run ./tools/simfarm -from 1 -seeds 100000    these
//
// A seed that fails is named, shrunk to the faults it needs, and written to the
// corpus, which go test ./node/sim runs again for ever: commit the file together
// with the fix. The farm fails if a seed does, or if so many seeds as it ran should
// have come upon something that none did.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/dnode-engine/dnode/node/sim"
	"github.com/dnode-engine/dnode/tools/internal/repo"
)

// settings are the command's flags.
type settings struct {
	time, shrink, tell time.Duration
	from, seeds        uint64
	corpus             string
}

func main() {
	var s settings
	flag.DurationVar(&s.time, "for", 0, "how long to run; 0: until -seeds are done")
	flag.Uint64Var(&s.seeds, "seeds", 0, "how many seeds to run; 0: as many as there is time for")
	flag.Uint64Var(&s.from, "from", 0, "the first seed; 0: one that nobody has seen")
	flag.DurationVar(&s.shrink, "shrink", time.Minute, "how long to make a failing seed smaller")
	flag.DurationVar(&s.tell, "tell", time.Minute, "how often to say how far it is")
	flag.StringVar(&s.corpus, "corpus", "", "the folder that keeps what was found (default node/sim/testdata/corpus)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.check()
	if err == nil {
		err = s.run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "simfarm:", err)
		os.Exit(1)
	}
}

func (s *settings) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q", flag.Arg(0))
	case s.time < 0 || s.shrink < 0 || s.tell <= 0:
		return errors.New("a time is not positive")
	case s.time == 0 && s.seeds == 0:
		return errors.New("say how long (-for 1h) or how many (-seeds 100000)")
	case s.corpus != "":
		return nil
	}
	root, err := repo.Root()
	s.corpus = filepath.Join(root, "node", "sim", "testdata", "corpus")
	return err
}

func (s *settings) run(ctx context.Context) error {
	if s.time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.time)
		defer cancel()
	}
	if s.from == 0 {
		s.from = rand.Uint64()>>20 + 1
	}
	debug.SetGCPercent(800) // a run makes much garbage and keeps little
	fmt.Printf("seeds from %d on, on %d cores\n", s.from, runtime.GOMAXPROCS(0))
	f := &farm{first: s.from, count: s.seeds, options: sim.Swarm}
	s.harvest(ctx, f)
	fmt.Println(f.report())
	for m := range sim.Moment(sim.Moments) {
		fmt.Printf("%9d %v\n", f.sum.Moments[m], m)
	}
	for _, x := range f.found {
		if err := s.keep(f, x); err != nil {
			return err
		}
	}
	missed := f.sum.Missed(uint64(len(f.terms)))
	switch {
	case len(f.found) > 0:
		return fmt.Errorf("%d of %d seeds fail", len(f.found), len(f.terms))
	case len(missed) > 0:
		return fmt.Errorf("%d seeds never came to this: %v", len(f.terms), missed)
	}
	return nil
}

// harvest runs the farm on all cores, and says from time to time how far it is.
func (s *settings) harvest(ctx context.Context, f *farm) {
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() { f.work(ctx) })
	}
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }()
	tell := time.NewTicker(s.tell)
	defer tell.Stop()
	for {
		select {
		case <-tell.C:
			fmt.Println(f.report())
		case <-ended:
			return
		}
	}
}

// keep shrinks a run that failed and writes it to the corpus.
func (s *settings) keep(f *farm, x found) error {
	end := time.Now().Add(s.shrink)
	small := sim.Shrink(f.options(x.seed), func() bool { return time.Now().Before(end) })
	fmt.Printf("seed %d %s\n", x.seed, small.String())
	entry := sim.Found{Error: x.err.Error(), Options: small.Options}
	b, err := json.MarshalIndent(&entry, "", "\t")
	if err != nil {
		return fmt.Errorf("cannot keep seed %d: %w", x.seed, err)
	}
	name := filepath.Join(s.corpus, fmt.Sprintf("%d.json", x.seed))
	if err = os.MkdirAll(s.corpus, 0o755); err == nil {
		err = os.WriteFile(name, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot keep seed %d: %w", x.seed, err)
	}
	fmt.Printf("kept as %s: commit it with the fix\n", name)
	return nil
}
