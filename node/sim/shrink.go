package sim

import (
	"fmt"
	"slices"
	"strings"
)

// Shrunk is a failing run made smaller: its options replay the faults that are
// left.
type Shrunk struct {
	Options Options
	Err     error    // what the smaller run violates
	Before  int      // faults of the run as it was found
	Off     []string // classes of faults that it does not need
	Runs    int      // tried on the way
}

// String tells what is left, one fault a line.
func (s *Shrunk) String() string {
	if s.Err == nil {
		return fmt.Sprintf("not shrunk: its %d recorded faults do not bring it about again", s.Before)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "shrunk in %d runs from %d faults to %d, with %d clients, without %s, to: %v\n", s.Runs, s.Before,
		len(s.Options.Faults), s.Options.Clients, strings.Join(s.Off, ", "), s.Err)
	for _, f := range s.Options.Faults {
		b.WriteString("   ")
		b.WriteString(f.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Found is a run that violated something when it was found: what a corpus keeps.
type Found struct {
	Error   string
	Options Options
}

// Shrink looks for a smaller run that violates the same property as the run with
// the given options: cut short, without classes of faults, with fewer faults and
// fewer clients. It goes on as long as it is told to. If the run does not fail, or
// its recorded faults do not replay it, there is no error in the result.
func Shrink(opt Options, more func() bool) Shrunk {
	c := New(opt)
	c.run()
	s := Shrunk{Options: opt, Before: len(c.record)}
	if c.err == nil {
		return s
	}
	k := shrinker{more: more, kind: kindOf(c.err)}
	o := opt
	o.Replay, o.Faults = true, c.record
	if !k.fails(o) {
		return s
	}
	k.classes()
	k.kinds()
	k.list()
	for clients := 1; clients < k.opt.Clients; clients *= 2 {
		o := k.opt
		if o.Clients = clients; k.fails(o) {
			break
		}
	}
	k.list()
	s.Options, s.Err, s.Off, s.Runs = k.opt, k.err, k.off, k.runs
	return s
}

// kindOf is the violated property's name, which all its errors begin with.
func kindOf(err error) string {
	head, _, _ := strings.Cut(err.Error(), ":")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '#'
		}
		return r
	}, head)
}

type shrinker struct {
	more func() bool
	kind string
	opt  Options // of the smallest run so far that fails
	err  error
	off  []string
	runs int
}

// fails runs smaller options and keeps them if they still fail in the same way.
// What comes after the violation is cut off.
func (k *shrinker) fails(o Options) bool {
	if k.runs > 0 && !k.more() {
		return false
	}
	k.runs++
	c := New(o)
	c.run()
	if c.err == nil || kindOf(c.err) != k.kind {
		return false
	}
	if c.now < o.LoadNanos {
		o.LoadNanos = c.now + 1
	}
	o.Faults = slices.Clone(o.Faults)
	o.Faults = slices.DeleteFunc(o.Faults, func(f Fault) bool { return f.At > o.LoadNanos })
	k.opt, k.err = o, c.err
	return true
}

func (k *shrinker) classes() {
	for _, class := range classes() {
		o := k.opt
		if !class.on(&o) {
			continue
		}
		if class.off(&o); k.fails(o) {
			k.off = append(k.off, class.name)
		}
	}
}

// kinds leaves out all faults of one kind.
func (k *shrinker) kinds() {
	for kind := range FaultKinds {
		k.without(func(_ int, f *Fault) bool { return f.Kind == kind })
	}
}

// list leaves out runs of faults, long ones first: delta debugging.
func (k *shrinker) list() {
	for size := (len(k.opt.Faults) + 1) / 2; size > 0; size /= 2 {
		for from := 0; from < len(k.opt.Faults); {
			if !k.without(func(i int, _ *Fault) bool { return i >= from && i < from+size }) {
				from += size
			}
		}
	}
}

// without tries the run without the faults that match; false if it needs them.
func (k *shrinker) without(match func(i int, f *Fault) bool) bool {
	o := k.opt
	o.Faults = nil
	for i := range k.opt.Faults {
		if !match(i, &k.opt.Faults[i]) {
			o.Faults = append(o.Faults, k.opt.Faults[i])
		}
	}
	return len(o.Faults) < len(k.opt.Faults) && k.fails(o)
}
